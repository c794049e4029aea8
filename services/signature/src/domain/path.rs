//! Paths from a certificate to a trust anchor (RFC 5280, section 6).

use publica_types::Timestamp;

use crate::domain::oid;
use crate::domain::x509::Certificate;

/// The most certificates between an end and its anchor.
const MAX_DEPTH: u64 = 6;
/// The most signatures that are checked for one path. Certificates that all bear one name could
/// each have issued each other, which makes as many paths as there are orders of them.
const MAX_CHECKS: usize = 64;

/// Critical extensions that are looked at somewhere in this block.
const UNDERSTOOD: &[&[u8]] = &[
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::CERTIFICATE_POLICIES,
];

/// Why there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathFault {
    /// Nothing leads to an anchor.
    NotFound,
    /// A certificate of the path had ended at that time.
    Expired,
    /// A certificate of the path was not valid yet at that time.
    NotYetValid,
    /// A certificate says something critical that is not understood.
    Constraint,
    /// There are more ways to look at than anybody needs.
    Costly,
}

/// Finds a path that holds at a time.
pub(crate) fn find(
    end: &Certificate,
    pool: &[Certificate],
    anchors: &[Certificate],
    time: Timestamp,
) -> Result<(), PathFault> {
    let mut search = Search {
        pool,
        anchors,
        time,
        checks: 0,
    };
    search.step(end, 0)
}

struct Search<'a> {
    pool: &'a [Certificate],
    anchors: &'a [Certificate],
    time: Timestamp,
    /// Signatures checked so far.
    checks: usize,
}

impl<'a> Search<'a> {
    fn step(&mut self, subject: &'a Certificate, below: u64) -> Result<(), PathFault> {
        let is_anchor = |anchor: &Certificate| anchor.der == subject.der;
        if self.anchors.iter().any(is_anchor) {
            return Ok(());
        }
        sound_at(subject, self.time)?;
        if below > MAX_DEPTH {
            return Err(PathFault::NotFound);
        }
        let mut fault = PathFault::NotFound;
        for issuer in self.anchors.iter().chain(self.pool) {
            let may_fit = issuer.subject == subject.issuer
                && issuer.authority().is_some_and(|most| most >= below);
            if !may_fit {
                continue;
            }
            if self.checks == MAX_CHECKS {
                return Err(PathFault::Costly);
            }
            self.checks += 1;
            if !issuer.signed(subject) {
                continue;
            }
            match self.step(issuer, below + 1) {
                Ok(()) => return Ok(()),
                Err(PathFault::Costly) => return Err(PathFault::Costly),
                Err(PathFault::NotFound) => {}
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

fn sound_at(certificate: &Certificate, time: Timestamp) -> Result<(), PathFault> {
    if time < certificate.not_before {
        return Err(PathFault::NotYetValid);
    }
    // Certificates count whole seconds and include the last one.
    if time.seconds() > certificate.not_after.seconds() {
        return Err(PathFault::Expired);
    }
    let unknown = |id: &[u8]| !UNDERSTOOD.contains(&id);
    if certificate
        .extensions
        .iter()
        .any(|one| one.critical && unknown(&one.id))
    {
        return Err(PathFault::Constraint);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use publica_types::SystemEntropy;

    use super::*;
    use crate::domain::key::{Curve, PrivateKey};
    use crate::domain::x509::{self, Issuer, Profile, Template};

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    /// A certificate of one name for all, signed with one key for all: each issued each other.
    fn alike(key: &PrivateKey, serial: u8, profile: Profile) -> Certificate {
        let name = x509::name(&[(oid::COMMON_NAME, "X")]);
        let template = Template {
            profile,
            serial: &[serial],
            subject: &name,
            spki: &key.public(),
            not_before: NOW,
            not_after: NOW,
            public_url: "",
        };
        let issuer = Issuer { name: &name, key };
        Certificate::read(&x509::issue(&template, issuer).unwrap()).unwrap()
    }

    #[test]
    fn looking_for_a_path_has_an_end() {
        let key = PrivateKey::generate(Curve::P256, &SystemEntropy).unwrap();
        let end = alike(&key, 1, Profile::Signing);
        let pool: Vec<_> = (2..34)
            .map(|serial| alike(&key, serial, Profile::Root))
            .collect();
        assert_eq!(find(&end, &pool, &[], NOW), Err(PathFault::Costly));
        let other = PrivateKey::generate(Curve::P256, &SystemEntropy).unwrap();
        let stranger = alike(&other, 40, Profile::Root);
        let mut search = Search {
            pool: &pool,
            anchors: std::slice::from_ref(&stranger),
            time: NOW,
            checks: 0,
        };
        assert_eq!(search.step(&end, 0), Err(PathFault::Costly));
        assert_eq!(search.checks, MAX_CHECKS);
        // Anchors are tried first, so that a crowd of others hides none.
        let anchor = alike(&key, 41, Profile::Root);
        assert_eq!(find(&end, &pool, &[stranger, anchor], NOW), Ok(()));
        assert_eq!(find(&end, &[], &[], NOW), Err(PathFault::NotFound));
    }
}
