//! The certificate authority of this server, and the certificate of its API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use model::Clock as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::clock::WallClock;
use crate::private;

const CA_LASTS: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);
const SERVER_LASTS: SignedDuration = SignedDuration::from_hours(24 * 365);
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// The files that prove who this server is.
pub struct Identity {
    /// The authority's certificate, for clients.
    pub ca_pem: String,
    certificate_pem: String,
    key_pem: String,
}

impl Identity {
    /// Reads the authority, or makes one on the first start; makes a certificate for the API by these names that it signs, anew at
    /// each start. Keys are P-256, in files of mode 0600.
    pub fn load_or_make(dir: &Path, names: &[String]) -> Result<Self> {
        private::make_dir(dir)?;
        let (ca_pem, ca_key) = authority(dir)?;
        let issuer_params = authority_params()?;
        let issuer = Issuer::new(issuer_params, ca_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Names that are addresses become addresses in it.
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "conductor API");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        lasts(&mut params, SERVER_LASTS)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { ca_pem, certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// What the TLS listener presents.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes())?)?;
        // Whoever shows no certificate may bring a token; one of another authority ends the handshake.
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
        let mut config = ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// A client certificate of the authority in `dir`, and its key, both PEM: for a user in groups, for as long as `lasts`.
/// Errors: there is no authority, or its key cannot be read.
pub fn client_certificate(dir: &Path, user: &str, groups: &[String], lasts: SignedDuration) -> Result<(String, String)> {
    let file = dir.join("ca.key");
    let ca_key = private::read_text(&file)?.with_context(|| format!("{} is not there", file.display()))?;
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&ca_key)?);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if groups.len() > 1 {
        anyhow::bail!("a certificate takes one group, found {}: make a token for more", groups.len());
    }
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    self::lasts(&mut params, lasts)?;
    Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

fn authority(dir: &Path) -> Result<(String, KeyPair)> {
    let (certificate_file, key_file): (PathBuf, PathBuf) = (dir.join("ca.crt"), dir.join("ca.key"));
    if let (Some(certificate), Some(key)) = (private::read_text(&certificate_file)?, private::read_text(&key_file)?) {
        let key = KeyPair::from_pem(&key).with_context(|| format!("{} holds no key", key_file.display()))?;
        return Ok((certificate, key));
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = authority_params()?.self_signed(&key)?;
    private::write(&key_file, key.serialize_pem().as_bytes())?;
    private::write(&certificate_file, certificate.pem().as_bytes())?;
    Ok((certificate.pem(), key))
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "conductor CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    lasts(&mut params, CA_LASTS)?;
    Ok(params)
}

/// Valid from the beginning of this day on, which forgives a client whose clock is a little behind.
fn lasts(params: &mut CertificateParams, duration: SignedDuration) -> Result<()> {
    let now = WallClock.now();
    let day = |time: Timestamp| -> Result<(i32, u8, u8)> {
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        Ok((i32::from(date.year()), u8::try_from(date.month())?, u8::try_from(date.day())?))
    };
    let (year, month, first) = day(now.checked_sub(BACKDATED)?)?;
    params.not_before = rcgen::date_time_ymd(year, month, first);
    let (year, month, last) = day(now.checked_add(duration)?)?;
    params.not_after = rcgen::date_time_ymd(year, month, last);
    Ok(())
}
