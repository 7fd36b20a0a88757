//! TLS for https probes: rustls with ring, and the certificate authorities of this host.

use crate::model::ProbeCause;
use crate::probe::Fail;
use crate::probe::net::{Timed, classify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where distributions keep the authorities: Debian, Ubuntu, SUSE, Arch; then RHEL and Fedora.
const CA_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest file of authorities, in bytes. Debian's is 220 KiB.
const CA_BYTES_MAX: usize = 16 << 20;

pub(crate) type Stream = StreamOwned<ClientConnection, Timed>;

/// Prepares connections; reading the authorities takes about a millisecond, so it is kept.
pub(crate) fn config(verify: bool) -> Result<Arc<ClientConfig>, Fail> {
    config_with(verify, CA_FILES)
}

fn config_with(verify: bool, ca_files: &[&str]) -> Result<Arc<ClientConfig>, Fail> {
    let provider = Arc::new(ring::default_provider());
    let cannot = |e: rustls::Error| Fail::new(ProbeCause::CannotProbe, format!("set up TLS: {e}"));
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(cannot)?;
    let config = if verify {
        builder.with_root_certificates(authorities(ca_files)?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth()
    };
    Ok(Arc::new(config))
}

fn authorities(files: &[&str]) -> Result<RootCertStore, Fail> {
    let cannot = |why: String| Fail::new(ProbeCause::CannotProbe, why);
    let Some(file) = files.iter().find(|f| Path::new(f).is_file()) else {
        return Err(cannot(format!("no certificate authorities: none of {} exists", files.join(", "))));
    };
    let read = crate::host::Root::real().read(file, CA_BYTES_MAX).map_err(|e| cannot(format!("read {file}: {e}")))?;
    let mut store = RootCertStore::empty();
    // One bad block among good ones is skipped, as other programs do.
    let (good, _bad) = store.add_parsable_certificates(CertificateDer::pem_slice_iter(&read.bytes).flatten());
    if good == 0 {
        return Err(cannot(format!("no certificate authorities: none in {file}")));
    }
    Ok(store)
}

/// The handshake.
pub(crate) fn open(config: Arc<ClientConfig>, host: &str, mut stream: Timed) -> Result<Stream, Fail> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|e| Fail::new(ProbeCause::CannotProbe, format!("TLS with {host}: {e}")))?;
    let mut connection = ClientConnection::new(config, name)
        .map_err(|e| Fail::new(ProbeCause::CannotProbe, format!("TLS with {host}: {e}")))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|e| fail(&e, host))?;
    }
    Ok(StreamOwned::new(connection, stream))
}

fn fail(error: &io::Error, host: &str) -> Fail {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Fail::new(ProbeCause::Tls, describe(tls));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Fail::new(ProbeCause::Tls, "the connection was closed during the TLS handshake")
        }
        _ => classify(error, &format!("TLS handshake with {host}")),
    }
}

fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => format!("the other side does not speak TLS: {error}"),
        other => other.to_string(),
    }
}

/// For `verify = false`: whoever holds the key of the certificate shown is accepted.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_or_empty_authorities_are_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("ca.pem");
        let name = file.to_str().expect("a UTF-8 path");
        let fail = authorities(&[name]).expect_err("absent");
        assert_eq!(fail.cause, ProbeCause::CannotProbe);
        assert!(fail.detail.contains("none of"), "{}", fail.detail);
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("write");
        assert!(authorities(&[name]).expect_err("no certificate").detail.contains("none in"));
    }

    /// Runs openssl in `dir`; false, with a line, where there is none.
    fn openssl(dir: &Path, args: &str) -> bool {
        match std::process::Command::new("openssl").args(args.split(' ')).current_dir(dir).output() {
            Ok(out) if out.status.success() => true,
            other => {
                println!("skipped: openssl {args}: {other:?}");
                false
            }
        }
    }

    #[test]
    fn certificates_are_checked_against_the_authorities_and_the_name() {
        use crate::model::Deadline;
        use crate::sys::clock;
        use std::net::{TcpListener, TcpStream};
        use std::time::Duration;

        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("leaf.ext"), "subjectAltName=DNS:web.example,IP:127.0.0.1\n").expect("write");
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let made = [
            format!("req -x509 {ec} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"),
            format!("req -x509 {ec} -days 2 -subj /CN=other -keyout other.key -out other.pem"),
            format!("req {ec} -subj /CN=leaf -keyout leaf.key -out leaf.csr"),
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem"
                .into(),
        ];
        if !made.iter().all(|args| openssl(dir.path(), args)) {
            return;
        }
        let at = |name: &str| dir.path().join(name).to_str().expect("a UTF-8 path").to_owned();
        let certs = CertificateDer::pem_file_iter(at("leaf.pem")).expect("leaf").map(|c| c.expect("PEM")).collect();
        let key = rustls::pki_types::PrivateKeyDer::from_pem_file(at("leaf.key")).expect("key");
        let server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(certs, key)
            .expect("a server config");
        let server = Arc::new(server);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut tls = rustls::ServerConnection::new(server.clone()).expect("a connection");
                while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            }
        });
        let shake = |ca: &str, host: &str| {
            let config = config_with(true, &[&at(ca)]).expect("authorities");
            let stream = TcpStream::connect(address).expect("connect");
            let deadline = Deadline::after(clock::mono(), Duration::from_secs(20));
            open(config, host, Timed::new(stream, deadline)).map(drop).map_err(|f| (f.cause, f.detail))
        };
        assert_eq!(shake("ca.pem", "127.0.0.1"), Ok(()));
        assert_eq!(shake("ca.pem", "web.example"), Ok(()));
        for (ca, host, words) in
            [("ca.pem", "other.example", "not valid for name"), ("other.pem", "127.0.0.1", "UnknownIssuer")]
        {
            let (cause, detail) = shake(ca, host).expect_err("refused");
            assert!(cause == ProbeCause::Tls && detail.contains(words), "{detail}");
        }
    }
}
