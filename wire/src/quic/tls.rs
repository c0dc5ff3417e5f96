//! TLS 1.3 with raw public keys on both sides, by the aws-lc-rs provider named explicitly (a
//! process with two providers has no default one).

use super::{ALPN, EndpointError};
use ed25519_dalek::SigningKey;
use holdfast_market_core::units::NodeKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// DER of an ed25519 SubjectPublicKeyInfo up to the key's 32 bytes (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER of an ed25519 PKCS #8 private key up to the key's 32 bytes (RFC 8410).
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

fn tls_error(error: impl std::fmt::Display) -> EndpointError {
    EndpointError::Tls(error.to_string())
}

fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // AES-128-GCM first: with AES instructions it is the fastest; ChaCha20 for machines without.
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    provider
}

/// The server's side: shows `identity`, takes any client key.
pub(super) fn server(identity: &SigningKey) -> Result<QuicServerConfig, EndpointError> {
    let provider = Arc::new(provider());
    let verifier = AnyClient(provider.signature_verification_algorithms);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(
            identity,
        )?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would carry the key of an earlier handshake; every one shows its own.
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(tls_error)
}

/// The client's side: shows `identity`, takes only the server that holds `expected`.
pub(super) fn client(
    identity: &SigningKey,
    expected: NodeKey,
) -> Result<QuicClientConfig, EndpointError> {
    let provider = Arc::new(provider());
    let verifier = PinnedServer {
        expected,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(
            identity,
        )?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(tls_error)
}

/// The key that the other end proved to hold.
pub(super) fn peer_key(connection: &quinn::Connection) -> Option<NodeKey> {
    let identity = connection.peer_identity()?;
    let shown = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match shown.as_slice() {
        [key] => read_public(key),
        _ => None,
    }
}

fn certified(identity: &SigningKey) -> Result<Arc<CertifiedKey>, EndpointError> {
    let mut private = Zeroizing::new(Vec::with_capacity(48));
    private.extend_from_slice(&PRIVATE_PREFIX);
    private.extend_from_slice(identity.as_bytes());
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private.as_slice()))
        .map_err(tls_error)?;
    let mut public = Vec::with_capacity(44);
    public.extend_from_slice(&PUBLIC_PREFIX);
    public.extend_from_slice(identity.verifying_key().as_bytes());
    Ok(Arc::new(CertifiedKey::new(
        vec![CertificateDer::from(public)],
        signer,
    )))
}

fn read_public(shown: &CertificateDer<'_>) -> Option<NodeKey> {
    let key = shown.as_ref().strip_prefix(&PUBLIC_PREFIX)?;
    key.try_into().ok().map(NodeKey)
}

fn verify(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    rustls::crypto::verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(shown.as_ref()),
        signature,
        algorithms,
    )
}

fn only_tls13() -> Error {
    PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()
}

/// Takes only the server that holds one key.
#[derive(Debug)]
struct PinnedServer {
    expected: NodeKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && read_public(shown) == Some(self.expected) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, shown, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes any client that proves to hold the ed25519 key that it shows.
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.is_empty() && read_public(shown).is_some() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::BadEncoding.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, shown, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
