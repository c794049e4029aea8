//! The block from outside: through the generated clients, behind all its layers. What it makes
//! is checked with OpenSSL, and with poppler's `pdfsig` where that is installed.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod certificates;
mod documents;
mod imports;
mod permissions;
mod persons;
mod timestamps;
mod tools;

use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::certificate_service_client::CertificateServiceClient;
use publica_proto::signature::v1::credential_service_client::CredentialServiceClient;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use publica_proto::signature::v1::timestamp_authority_service_client as tsa;
use publica_proto::signature::v1::validation_service_client::ValidationServiceClient;
use publica_rpc::Link;
use publica_signature::{Signature, SignatureConfig};
use publica_testkit::{TestBlock, TestDatabase, TestEnv, env, token_for, with_token};
use publica_types::Tenant;

const LARGE: usize = 64 * 1024 * 1024;

/// A block on a private store, and links for its callers.
struct Fixture {
    // Held so that its folder and its background work live as long as the test.
    _env: TestEnv,
    block: TestBlock<Signature>,
}

impl Fixture {
    async fn new(db: &TestDatabase) -> Self {
        let env = env("signature");
        let config = SignatureConfig {
            database: db.config(),
            ..SignatureConfig::default()
        };
        let block = env
            .open::<Signature>(config)
            .await
            .expect("the block opens");
        Self { _env: env, block }
    }

    /// The way in for somebody with these scopes.
    fn link(&self, subject: &str, scopes: &[&str]) -> Link {
        with_token(
            &self.block.link,
            &token_for(subject, scopes, &Tenant::default()),
        )
    }

    fn office(&self) -> Link {
        self.link("office", &["signature:*"])
    }

    fn signing(&self) -> SigningServiceClient<Link> {
        SigningServiceClient::new(self.office())
            .max_decoding_message_size(LARGE)
            .max_encoding_message_size(LARGE)
    }

    fn validation(&self) -> ValidationServiceClient<Link> {
        ValidationServiceClient::new(self.office()).max_encoding_message_size(LARGE)
    }

    fn certificates(&self, link: Link) -> CertificateServiceClient<Link> {
        let _ = self;
        CertificateServiceClient::new(link)
    }

    fn credentials(&self) -> CredentialServiceClient<Link> {
        CredentialServiceClient::new(self.office())
    }

    fn timestamps(&self) -> tsa::TimestampAuthorityServiceClient<Link> {
        tsa::TimestampAuthorityServiceClient::new(self.office())
    }

    async fn authorities(&self) -> pb::ListAuthoritiesResponse {
        let mut client = self.certificates(self.office());
        client
            .list_authorities(pb::ListAuthoritiesRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    async fn credential(&self) -> pb::Credential {
        let request = pb::CreateCredentialRequest {
            organization: "Ministry of Examples".into(),
            country: "XX".into(),
            organization_identifier: "NTRXX-12345".into(),
            ..Default::default()
        };
        let made = self.credentials().create_credential(request).await.unwrap();
        made.into_inner()
            .credential
            .expect("an answer holds the credential")
    }

    async fn seal(&self, documents: Vec<Vec<u8>>) -> pb::SealDocumentsResponse {
        let request = pb::SealDocumentsRequest {
            documents: documents.into_iter().map(Into::into).collect(),
            reason: "Décision".into(),
            ..Default::default()
        };
        self.signing()
            .seal_documents(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn validate(&self, document: &[u8]) -> Vec<pb::SignatureReport> {
        let request = pb::ValidateDocumentRequest {
            document: document.to_vec().into(),
        };
        self.validation()
            .validate_document(request)
            .await
            .unwrap()
            .into_inner()
            .signatures
    }
}

/// A letter of one page.
fn letter(text: &str) -> Vec<u8> {
    use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};

    let mut pdf = Pdf::new();
    let (catalog, pages, page) = (Ref::new(1), Ref::new(2), Ref::new(3));
    let (font, content) = (Ref::new(4), Ref::new(5));
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let mut sheet = pdf.page(page);
    sheet
        .media_box(Rect::new(0.0, 0.0, 595.0, 842.0))
        .parent(pages)
        .contents(content);
    sheet.resources().fonts().pair(Name(b"F1"), font);
    sheet.finish();
    pdf.type1_font(font).base_font(Name(b"Helvetica"));
    let mut lines = Content::new();
    lines
        .begin_text()
        .set_font(Name(b"F1"), 14.0)
        .next_line(72.0, 720.0);
    lines.show(Str(text.as_bytes())).end_text();
    pdf.stream(content, &lines.finish());
    pdf.finish()
}
