//! The gate of HTTP and gRPC: whose token a request has, before anything of it is read.
//!
//! A token comes as `Authorization: Bearer TOKEN`, as InfluxDB's clients write it (`Token TOKEN`),
//! or as the password of `Basic`, whatever the user.

use super::tokens::{Role, Tokens};
use crate::remote;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use tonic::Status;
use url::Url;

/// What a route asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Read,
    Write,
    /// The route says for itself, of the request's [`Holder`].
    Either,
}

/// What a path needs.
pub type Needs = fn(&str) -> Need;

/// Who sent a request, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub role: Role,
}

/// Lets requests through, or answers them itself.
#[derive(Clone, Debug)]
pub struct Gate {
    tokens: Option<Arc<Tokens>>,
}

enum Refusal {
    /// Without tokens, a page of another site asked a browser on this machine to ask.
    Stranger,
    /// There is no token, or none that anybody has.
    Unknown(&'static str),
    /// It is for something else.
    Forbidden(Need, String),
}

impl Gate {
    pub(super) fn new(tokens: Option<Arc<Tokens>>) -> Self {
        Self { tokens }
    }

    /// Puts the gate before all routes there are so far; `need` is told a request's path.
    pub fn before(&self, routes: Router, need: Needs) -> Router {
        routes.route_layer(from_fn_with_state((self.clone(), need), pass))
    }

    fn holder(&self, asked: &Uri, headers: &HeaderMap, need: Need) -> Result<Holder, Refusal> {
        let Some(tokens) = &self.tokens else {
            let here = is_from_here(asked, headers);
            return here.then_some(Holder { role: Role::Admin }).ok_or(Refusal::Stranger);
        };
        let token = token(headers).ok_or(Refusal::Unknown("this server wants a token"))?;
        let entry = tokens.holder(&token).ok_or(Refusal::Unknown("nobody has this token"))?;
        let may = match need {
            Need::Read => entry.role.may_read(),
            Need::Write => entry.role.may_write(),
            Need::Either => true,
        };
        if may {
            return Ok(Holder { role: entry.role });
        }
        Err(Refusal::Forbidden(need, entry.name.clone()))
    }
}

async fn pass(
    State((gate, need)): State<(Gate, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let need = need(request.uri().path());
    match gate.holder(request.uri(), request.headers(), need) {
        Ok(holder) => {
            request.extensions_mut().insert(holder);
            next.run(request).await
        }
        Err(refusal) => refusal.answer(request.headers()),
    }
}

/// Whether a request to a server that everybody on the machine may use comes from a program here:
/// a browser says whose page it asks for (`Origin`), and a name that another site has pointed to
/// this machine is not one of its own.
fn is_from_here(asked: &Uri, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or(""));
    let host = asked.authority().map(Authority::as_str).or_else(|| text(HOST));
    let origin = text(ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, at)| at));
    host.is_none_or(is_loopback) && origin.is_none_or(is_loopback)
}

fn is_loopback(authority: &str) -> bool {
    let url = Url::parse(&format!("http://{authority}"));
    url.is_ok_and(|url| remote::is_loopback(&url))
}

fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

impl Refusal {
    fn answer(self, headers: &HeaderMap) -> Response {
        let text = match &self {
            Self::Stranger => {
                "this server has no tokens and answers programs on its own machine that call it \
                 localhost, no pages of other sites: make a token with `warpline token add`"
                    .to_owned()
            }
            Self::Unknown(what) => {
                format!("{what}: send it as `Authorization: Bearer TOKEN`, or as Basic's password")
            }
            Self::Forbidden(need, name) => {
                let role = if *need == Need::Write { "write" } else { "read" };
                format!("the token {name:?} may not {role}: use one of role {role} or admin")
            }
        };
        let content = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if content.starts_with(b"application/grpc") {
            let status = match self {
                Self::Unknown(_) => Status::unauthenticated(text),
                Self::Stranger | Self::Forbidden(..) => Status::permission_denied(text),
            };
            return status.into_http();
        }
        match self {
            Self::Unknown(_) => {
                let asked = [(WWW_AUTHENTICATE, "Bearer realm=\"warpline\"")];
                (StatusCode::UNAUTHORIZED, asked, body(&text, "28000")).into_response()
            }
            Self::Stranger | Self::Forbidden(..) => {
                (StatusCode::FORBIDDEN, body(&text, "42501")).into_response()
            }
        }
    }
}

/// As other refusals of a request are written.
fn body(error: &str, code: &str) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "error": error, "code": code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_however_it_is_written() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            token(&headers)
        };
        for right in ["Bearer abc", "bearer  abc ", "Token abc", "Basic dTphYmM=", "basic OmFiYw=="]
        {
            assert_eq!(of(right).as_deref(), Some("abc"), "{right}");
        }
        for none in ["abc", "Digest abc", "Basic abc", "Basic YWJj", "Bearer"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn pages_of_other_sites_are_no_programs_of_this_machine() {
        let here = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            is_from_here(&Uri::from_static("/sql"), &headers)
        };
        for host in ["localhost:7480", "127.0.0.1:7480", "[::1]:7480", "127.0.0.1"] {
            assert!(here(host, None), "{host}");
        }
        assert!(here("localhost:7480", Some("http://localhost:3000")));
        assert!(!here("localhost:7480", Some("https://example.org")));
        assert!(!here("localhost:7480", Some("null")));
        assert!(!here("rebound.example.org:7480", None));
        assert!(!here("localhost.example.org:7480", None));
    }
}
