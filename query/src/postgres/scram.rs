//! SCRAM-SHA-256, the server's side, without channel binding (RFC 5802, RFC 7677).
//!
//! Promises: what a server keeps of a password lets nobody in who has stolen it, which the wire
//! library's own exchange does not give: it keeps the salted password, as good as the password
//! itself. A name that nobody has is answered as one with a wrong password, to the last message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hmac, pbkdf2};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The name of the mechanism.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// As PostgreSQL has it; passwords here are random and need no more.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("it is not zero");
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;

type Key = [u8; 32];

/// What a password is verified by. Written as PostgreSQL's `pg_authid` has it:
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordVerifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl PasswordVerifier {
    /// What verifies this password, which is not prepared (RFC 4013): it is plain ASCII.
    pub fn of(password: &str) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        fill(&mut salt);
        let mut salted = Key::default();
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, ITERATIONS, &salt, password.as_bytes(), &mut salted);
        let stored_key = sha256(&sign(&salted, b"Client Key"));
        Self { iterations: ITERATIONS, salt, stored_key, server_key: sign(&salted, b"Server Key") }
    }

    /// What no password fits, the same each time for a name as long as the server runs.
    fn of_nobody(secret: &Key, name: &str) -> Self {
        let salt = sign(secret, name.as_bytes())[..SALT_BYTES].to_vec();
        let mut unknown = Key::default();
        fill(&mut unknown);
        Self { iterations: ITERATIONS, salt, stored_key: unknown, server_key: unknown }
    }
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordVerifier").finish_non_exhaustive()
    }
}

impl fmt::Display for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|key| STANDARD.encode(key));
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for PasswordVerifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (iterations, rest) =
                text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once(':')?;
            let (salt, keys) = rest.split_once('$')?;
            let (stored, server) = keys.split_once(':')?;
            let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt: STANDARD.decode(salt).ok()?,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        read().ok_or_else(|| {
            format!("not a verifier: {MECHANISM}$iterations:salt$StoredKey:ServerKey in base64")
        })
    }
}

/// Begins exchanges; one for all connections.
#[derive(Debug)]
pub(super) struct Scram {
    /// Of which salts for unknown names are made.
    secret: Key,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(super) struct Challenge {
    verifier: PasswordVerifier,
    known: bool,
    /// What the client's last message must repeat.
    binding: String,
    nonce: String,
    /// The first two messages, as they are signed.
    messages: String,
}

/// A client's message that is not of the exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Scram {
    pub(super) fn new() -> Self {
        let mut secret = Key::default();
        fill(&mut secret);
        Self { secret }
    }

    /// Reads a client's first message, and answers with the challenge and what to send. The name
    /// in it is PostgreSQL's to leave empty, and not looked at.
    pub(super) fn begin(
        &self,
        name: &str,
        verifier: Option<PasswordVerifier>,
        first: &[u8],
    ) -> Result<(Challenge, String), Malformed> {
        let first = text(first)?;
        let bare = first.split_once(',').and_then(|(_, rest)| rest.split_once(','));
        let (_, bare) = bare.ok_or(Malformed("the first message has no header"))?;
        let binding = &first[..first.len() - bare.len()];
        match binding.split(',').next() {
            Some("n" | "y") => {}
            _ => return Err(Malformed("channel binding is not offered")),
        }
        let mut attributes = bare.split(',');
        let named = attributes.next().is_some_and(|name| name.starts_with("n="));
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let Some(theirs) = nonce.filter(|nonce| named && !nonce.is_empty()) else {
            return Err(Malformed("the first message has no name and nonce"));
        };
        let mut ours = [0; NONCE_BYTES];
        fill(&mut ours);
        let nonce = format!("{theirs}{}", STANDARD.encode(ours));
        let known = verifier.is_some();
        let verifier = verifier.unwrap_or_else(|| PasswordVerifier::of_nobody(&self.secret, name));
        let (salt, iterations) = (STANDARD.encode(&verifier.salt), verifier.iterations);
        let answer = format!("r={nonce},s={salt},i={iterations}");
        let messages = format!("{bare},{answer}");
        let binding = STANDARD.encode(binding);
        Ok((Challenge { verifier, known, binding, nonce, messages }, answer))
    }
}

impl Challenge {
    /// Reads a client's last message; answers with what to send where its proof is right, with
    /// nothing where it is wrong.
    pub(super) fn verify(&self, last: &[u8]) -> Result<Option<String>, Malformed> {
        let last = text(last)?;
        let parts = last.rsplit_once(",p=");
        let (unproven, proof) = parts.ok_or(Malformed("the last message has no proof"))?;
        let expected = format!("c={},r={}", self.binding, self.nonce);
        let rest = unproven.strip_prefix(&expected);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(',')) {
            return Err(Malformed("the last message is of another exchange"));
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let mut client_key = proof.ok_or(Malformed("the proof is not 32 bytes in base64"))?;
        let signed = format!("{},{unproven}", self.messages);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        let right = same(&sha256(&client_key), &self.verifier.stored_key) && self.known;
        let signature = sign(&self.verifier.server_key, signed.as_bytes());
        Ok(right.then(|| format!("v={}", STANDARD.encode(signature))))
    }
}

fn text(message: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(message).map_err(|_| Malformed("the message is not UTF-8"))
}

/// Compares without telling by its time where keys differ.
fn same(one: &Key, other: &Key) -> bool {
    one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

fn sign(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sha256(of: &[u8]) -> Key {
    digest(&SHA256, of).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn fill(random: &mut [u8]) {
    SystemRandom::new().fill(random).expect("the system has random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: its salt and nonces, for user "user", password "pencil".
    #[test]
    fn the_example_of_the_specification_is_let_in() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = Key::default();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, b"pencil", &mut salted);
        let stored_key = sha256(&sign(&salted, b"Client Key"));
        let server_key = sign(&salted, b"Server Key");
        let verifier = PasswordVerifier { iterations: ITERATIONS, salt, stored_key, server_key };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let answer = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let challenge = Challenge {
            verifier,
            known: true,
            binding: "biws".into(),
            nonce: nonce.into(),
            messages: format!("{bare},{answer}"),
        };
        let last = |proof| format!("c=biws,r={nonce},p={proof}");
        let right = last("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let want = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(challenge.verify(right.as_bytes()), Ok(Some(want.to_owned())));
        let wrong = last("aHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(challenge.verify(wrong.as_bytes()), Ok(None));
    }

    #[test]
    fn a_verifier_is_read_as_it_is_written_and_shows_nothing() {
        let verifier = PasswordVerifier::of("secret");
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:"), "{text}");
        assert_eq!(text.parse(), Ok(verifier.clone()));
        assert_eq!(format!("{verifier:?}"), "PasswordVerifier { .. }");
        let broken = ["", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "md5abc", &text[..text.len() - 4]];
        assert!(broken.iter().all(|text| text.parse::<PasswordVerifier>().is_err()));
    }

    #[test]
    fn messages_that_are_none_are_refused() {
        let scram = Scram::new();
        let begin = |first: &[u8]| scram.begin("a", Some(PasswordVerifier::of("a")), first);
        for first in [
            &b""[..],
            b"n",
            b"n,,",
            b"n,,n=",
            b"n,,r=x,n=a",
            b"n,,n=a,r=",
            b"p=tls-unique,,n=a,r=x",
            b"\xff,,n=,r=x",
        ] {
            assert!(begin(first).is_err(), "{first:?}");
        }
        let (challenge, answer) = begin(b"y,,n=,r=abc").unwrap();
        assert!(answer.starts_with("r=abc") && answer.ends_with(",i=4096"), "{answer}");
        let nonce = answer[2..].split(',').next().unwrap();
        let proof = STANDARD.encode([7; 32]);
        for last in [
            String::new(),
            "p=".to_owned(),
            format!("c=biws,r={nonce},p={proof}"),
            format!("c=eSws,r=abc,p={proof}"),
            format!("c=eSws,r={nonce}x,p={proof}"),
            format!("c=eSws,r={nonce},p=AAAA"),
        ] {
            assert!(challenge.verify(last.as_bytes()).is_err(), "{last}");
        }
        assert_eq!(challenge.verify(format!("c=eSws,r={nonce},p={proof}").as_bytes()), Ok(None));
    }

    #[test]
    fn unknown_names_look_like_known_ones() {
        let scram = Scram::new();
        let salt = |name: &str| {
            let (_, answer) = scram.begin(name, None, b"n,,n=,r=x").unwrap();
            answer.split(',').nth(1).unwrap().to_owned()
        };
        assert_eq!(salt("a"), salt("a"));
        assert_ne!(salt("a"), salt("b"));
        let (nobody, answer) = scram.begin("a", None, b"n,,n=,r=x").unwrap();
        let nonce = answer[2..].split(',').next().unwrap();
        let proof = STANDARD.encode([0; 32]);
        assert_eq!(nobody.verify(format!("c=biws,r={nonce},p={proof}").as_bytes()), Ok(None));
    }
}
