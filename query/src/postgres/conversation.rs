//! One connection: bytes become messages, and messages are answered, until either side ends it.
//!
//! Promises: before somebody is let in, only what belongs to that is read, of a few bytes, and for a
//! minute; a connection that was refused is over; what came in the clear before TLS is no part of
//! what comes by it. The library's own loop promises none of this.

use super::Handlers;
use super::connection::Connection;
use super::respond::fatal;
use super::session::Prepared;
use datafusion_postgres::pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::PgWireFrontendMessage;
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::server::{
    MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{Decoder, Framed};

/// How long somebody may take to be let in.
const LOGIN: Duration = Duration::from_mins(1);
/// The longest message until then, as PostgreSQL has it, and afterwards: a statement with its
/// parameters.
const LOGIN_BYTES: usize = 10_000;
const MESSAGE_BYTES: usize = 16 << 20;
/// The type of the messages that passwords come by.
const PASSWORD: u8 = b'p';

type Socket = Framed<MaybeTls, PgWireMessageServerCodec<Prepared>>;

/// Answers a client to the end of its connection.
pub(super) async fn converse(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    handlers: &Handlers,
) -> io::Result<()> {
    let by = Instant::now() + LOGIN;
    let Ok(negotiated) = timeout_at(by, negotiate_tls(socket, tls)).await else { return Ok(()) };
    let Some(mut socket) = negotiated? else { return Ok(()) };
    if socket.is_secure() && !socket.read_buffer().is_empty() {
        return Ok(());
    }
    loop {
        let message = if Connection::of(&socket).check_admitted().is_ok() {
            next(&mut socket).await
        } else {
            timeout_at(by, next(&mut socket)).await.unwrap_or(Ok(None))
        };
        let goes_on = match message {
            Ok(None | Some(PgWireFrontendMessage::Terminate(_))) => false,
            Ok(Some(message)) => answer(&mut socket, message, handlers).await?,
            // Where the next message would begin is not known any more.
            Err(error) => {
                refuse(&mut socket, error, false).await?;
                false
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
}

/// The next message that may come now; nothing where the client has ended.
async fn next(socket: &mut Socket) -> Result<Option<PgWireFrontendMessage>, PgWireError> {
    loop {
        let mut unread = std::mem::take(socket.read_buffer_mut());
        check(&unread, socket.state())?;
        let message = socket.codec_mut().decode(&mut unread)?;
        let read = match message {
            Some(_) => Ok(1),
            None => socket.get_mut().read_buf(&mut unread).await,
        };
        *socket.read_buffer_mut() = unread;
        if message.is_some() || read? == 0 {
            return Ok(message);
        }
    }
}

/// Whether the message that begins there may come now, by its head.
fn check(unread: &[u8], state: PgWireConnectionState) -> Result<(), PgWireError> {
    let (kind, rest, most) = match state {
        PgWireConnectionState::AwaitingSslRequest | PgWireConnectionState::AwaitingStartup => {
            (None, unread, LOGIN_BYTES)
        }
        state => {
            let Some((kind, rest)) = unread.split_first() else { return Ok(()) };
            let login = matches!(state, PgWireConnectionState::AuthenticationInProgress);
            (login.then_some(*kind), rest, if login { LOGIN_BYTES } else { MESSAGE_BYTES })
        }
    };
    if kind.is_some_and(|kind| kind != PASSWORD) {
        return Err(fatal("08P01", "a password is expected"));
    }
    match rest.first_chunk::<4>() {
        Some(length) if u32::from_be_bytes(*length) as usize > most => {
            Err(fatal("54000", format!("a message has at most {most} bytes here")))
        }
        _ => Ok(()),
    }
}

/// Answers a message, and whether the connection goes on.
async fn answer(
    socket: &mut Socket,
    message: PgWireFrontendMessage,
    handlers: &Handlers,
) -> io::Result<bool> {
    let extended = match socket.state() {
        PgWireConnectionState::CopyInProgress(extended) => extended,
        _ => message.is_extended_query(),
    };
    let cancels = matches!(message, PgWireFrontendMessage::CancelRequest(_));
    let answered = process_message(
        message,
        socket,
        Arc::clone(&handlers.startup),
        Arc::clone(&handlers.session),
        Arc::clone(&handlers.session),
        Arc::new(NoopHandler),
        Arc::clone(&handlers.cancel),
    );
    match answered.await {
        Ok(()) => Ok(!cancels),
        Err(error) => refuse(socket, error, extended).await,
    }
}

/// Tells an error, and whether the connection goes on.
async fn refuse(socket: &mut Socket, error: PgWireError, extended: bool) -> io::Result<bool> {
    let admitted = Connection::of(&*socket).check_admitted().is_ok();
    let told = ErrorInfo::from(error);
    let goes_on = admitted && !told.is_fatal();
    process_error(socket, PgWireError::UserError(Box::new(told)), extended).await?;
    Ok(goes_on)
}
