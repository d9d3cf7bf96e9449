//! Who we are: SASL by PLAIN (RFC 4616) and SCRAM (RFC 5802 and 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// How often a password may have to be hashed. Fewer than the first are as good as none; more keep us busy.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=200_000;

/// A way to say who we are, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mechanism {
    Plain,
    Sha256,
    Sha512,
}

impl Mechanism {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Sha256, Self::Sha512];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    fn mac(self, key: &[u8]) -> Result<Keyed, String> {
        match self {
            Self::Plain | Self::Sha256 => Hmac::new_from_slice(key).map(Keyed::Sha256),
            Self::Sha512 => Hmac::new_from_slice(key).map(Keyed::Sha512),
        }
        .map_err(|error| error.to_string())
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain | Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// A password that is hashed over and over: PBKDF2 with one block.
    fn salted(self, password: &str, salt: &[u8], rounds: u32) -> Result<Vec<u8>, String> {
        let keyed = self.mac(password.as_bytes())?;
        let mut last = keyed.of(&[salt, &[0, 0, 0, 1]]);
        let mut salted = last.clone();
        for _ in 1..rounds {
            last = keyed.of(&[&last]);
            salted = xor(&salted, &last);
        }
        Ok(salted)
    }
}

/// What authenticates messages with a key.
enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    fn of(&self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256(mac) => finished(mac.clone(), parts),
            Self::Sha512(mac) => finished(mac.clone(), parts),
        }
    }
}

fn finished(mac: impl Mac, parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

/// User and password in the clear.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// A proof that we know the password, which does not say it.
pub(super) struct Scram {
    mechanism: Mechanism,
    nonce: String,
    first: String,
}

impl Scram {
    /// `nonce` is something that nobody can guess, in printable characters without a comma.
    pub(super) fn new(mechanism: Mechanism, user: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { mechanism, nonce: nonce.to_owned(), first: format!("n={user},r={nonce}") }
    }

    /// What is said first.
    pub(super) fn hello(&self) -> Vec<u8> {
        format!("n,,{}", self.first).into_bytes()
    }

    /// The proof that the broker asks for, and what it must answer.
    pub(super) fn proof(&self, password: &str, asked: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let asked = String::from_utf8_lossy(asked);
        let (nonce, salt, rounds) = (field(&asked, "r="), field(&asked, "s="), field(&asked, "i="));
        let salt = salt.and_then(|salt| STANDARD.decode(salt).ok());
        let rounds = rounds.and_then(|rounds| rounds.parse::<u32>().ok());
        let (Some(nonce), Some(salt), Some(rounds)) = (nonce, salt, rounds) else {
            return Err("what it asks for makes no sense".to_owned());
        };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("it answers somebody else".to_owned());
        }
        if !ROUNDS.contains(&rounds) {
            return Err(format!(
                "it wants a password hashed {rounds} times; {} to {} are taken",
                ROUNDS.start(),
                ROUNDS.end()
            ));
        }
        let mechanism = self.mechanism;
        let salted = mechanism.mac(&mechanism.salted(password, &salt, rounds)?)?;
        let key = salted.of(&[b"Client Key"]);
        // No channel is bound: `n,,`.
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{asked},{last}", self.first);
        let signature = mechanism.mac(&mechanism.hash(&key))?.of(&[all.as_bytes()]);
        let proof = STANDARD.encode(xor(&key, &signature));
        let answer = mechanism.mac(&salted.of(&[b"Server Key"]))?.of(&[all.as_bytes()]);
        Ok((format!("{last},p={proof}").into_bytes(), answer))
    }

    /// Whether the broker knows the password too.
    pub(super) fn is_known(said: &[u8], expected: &[u8]) -> bool {
        let said = String::from_utf8_lossy(said);
        let signature = field(&said, "v=").and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| bool::from(signature.ct_eq(expected)))
    }
}

/// What follows a name in a list with commas.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split(',').find_map(|field| field.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, and the same for SHA-512 as Python's `hashlib` and `hmac` compute it.
    #[test]
    fn proofs() {
        let asked = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        for (mechanism, proof, answer) in [
            (
                Mechanism::Sha256,
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
            (
                Mechanism::Sha512,
                "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
                "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
            ),
        ] {
            let scram = Scram::new(mechanism, "user", "rOprNGfwEbeRWgbNEkqO");
            assert_eq!(scram.hello(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
            let (said, expected) = scram.proof("pencil", asked).unwrap();
            let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
            assert_eq!(String::from_utf8(said).unwrap(), format!("c=biws,r={nonce},p={proof}"));
            assert!(Scram::is_known(format!("v={answer}").as_bytes(), &expected));
            assert!(!Scram::is_known(format!("v={}", answer.to_lowercase()).as_bytes(), &expected));
            assert!(!Scram::is_known(b"e=invalid-proof", &expected));
        }
    }

    #[test]
    fn what_is_asked_for_must_make_sense() {
        let scram = Scram::new(Mechanism::Sha512, "a=b,c", "n0nce");
        assert_eq!(scram.hello(), b"n,,n=a=3Db=2Cc,r=n0nce");
        for (asked, why) in [
            ("", "makes no sense"),
            ("r=n0ncex,s=?,i=4096", "makes no sense"),
            ("r=n0nce,s=AAAA,i=4096", "somebody else"),
            ("r=othern0nce,s=AAAA,i=4096", "somebody else"),
            ("r=n0ncex,s=AAAA,i=1", "hashed 1 times"),
            ("r=n0ncex,s=AAAA,i=4000000000", "hashed 4000000000 times"),
        ] {
            let said = scram.proof("s3cret", asked.as_bytes()).unwrap_err();
            assert!(said.contains(why) && !said.contains("s3cret"), "{asked}: {said}");
        }
    }

    #[test]
    fn names_of_mechanisms() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::named(&mechanism.name().to_lowercase()), Some(mechanism));
        }
        assert_eq!(Mechanism::named("GSSAPI"), None);
        assert_eq!(plain("u", "p"), b"\0u\0p");
    }
}
