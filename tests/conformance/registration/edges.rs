//! What is no request of the published kind, and who may not call.

use super::*;

const PATHS: &[(&str, &[&str])] = &[
    ("/services", &["GET"]),
    ("/services/support", &["GET"]),
    ("/services/support/eForms", &["GET"]),
    ("/services/support/applications", &["POST"]),
    ("/eForms/household-form", &["GET"]),
    ("/documents", &["POST"]),
    ("/applications", &["GET"]),
    ("/tasks", &["GET"]),
    ("/data/statistics", &["GET"]),
    ("/data/statistics/1.0", &["GET"]),
    ("/api/v1/services", &["POST"]),
];

both_engines! {
    async fn other_methods_and_paths(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = text(&suite.submit("p", 500).await["fileId"]);
        let task = text(&suite.get("/tasks").await.ok()[0]["taskId"]);
        let file = format!("/applications/{file}");
        let (task, complete) = (format!("/tasks/{task}"), format!("/tasks/{task}/complete"));
        let mut paths = PATHS.to_vec();
        paths.push((&file, &["GET", "PUT"]));
        paths.push((&task, &["GET"]));
        paths.push((&complete, &["POST"]));
        for (path, known) in paths {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"] {
                if known.contains(&method) {
                    continue;
                }
                let answer = suite.send(method, path, |_| {}).await;
                assert_eq!(answer.refused(405), "method_not_allowed", "{method} {path}");
                let allowed = answer.headers["allow"].to_str().unwrap();
                assert!(known.iter().all(|one| allowed.contains(one)), "{path}: {allowed}");
            }
            if known.contains(&"GET") {
                let head = suite.send("HEAD", path, |_| {}).await;
                assert_eq!(head.status, StatusCode::OK, "{path}");
                assert!(head.bytes.is_empty(), "{path}");
            }
        }
        // An item that is not there is not there, whatever the verb.
        for (path, code) in [
            ("/services/none", "service_not_found"),
            ("/services/none/eForms", "service_not_found"),
            ("/services/none/applications", "service_not_found"),
            ("/eForms/none", "eform_not_found"),
            ("/applications/none", "file_not_found"),
            ("/tasks/none", "task_not_found"),
            ("/tasks/none/complete", "task_not_found"),
            ("/services/%00", "service_not_found"),
            ("/services/a%2Fb", "service_not_found"),
            ("/services/..%2F..%2Fetc", "service_not_found"),
            ("/services/%F0%9F%98%80", "service_not_found"),
            ("/services/%ff", "service_not_found"),
            ("/services/%", "service_not_found"),
            ("/eForms/%00", "eform_not_found"),
            ("/applications/%00", "file_not_found"),
            ("/applications/%ff%fe", "file_not_found"),
            ("/tasks/%00", "task_not_found"),
            ("/tasks/a%20b", "task_not_found"),
        ] {
            for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] {
                let body = json!({"applicantId": "p"});
                let answer = suite.call(method, path, &body).await;
                assert_eq!(answer.refused(404), code, "{method} {path}");
            }
        }
        assert_eq!(suite.get("/documents/none").await.refused(404), "document_not_found");
        assert_eq!(suite.get("/documents/%00").await.refused(404), "document_not_found");
        for path in ["/", "/service", "/services/", "/services/a/b", "/tasks/a/b"] {
            assert_eq!(suite.get(path).await.refused(404), "path_not_found", "{path}");
        }
    }

    async fn bodies_that_are_none(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = text(&suite.submit("p", 500).await["fileId"]);
        let task = text(&suite.get("/tasks").await.ok()[0]["taskId"]);
        let json = "application/json";
        let deep = format!("{{\"data\":{}{}}}", "[".repeat(70), "]".repeat(70));
        for (method, path) in [
            ("POST", "/services/support/applications".to_owned()),
            ("PUT", format!("/applications/{file}")),
            ("POST", format!("/tasks/{task}/complete")),
        ] {
            let cases: [&[u8]; 8] = [
                b"{", b"{\"applicantId\":", b"nonsense", b"\xff\xfe", b"{\"a\":1,\"a\":2}",
                b"{} {}", b"{\"applicantId\":\"\\ud800\"}", deep.as_bytes(),
            ];
            for body in cases {
                let answer = suite.raw(method, &path, json, body.to_vec()).await;
                assert_eq!(answer.refused(400), "malformed_body", "{path} {body:?}");
                assert!(answer.body.get("errors").is_none());
            }
            let answer = suite.raw(method, &path, json, vec![b' '; 1024 * 1024 + 1]).await;
            assert_eq!(answer.refused(413), "payload_too_large", "{path}");
            for kind in ["text/plain", "application/xml", "application/jsonx"] {
                let answer = suite.raw(method, &path, kind, "{}").await;
                assert_eq!(answer.refused(415), "unsupported_media_type", "{path}");
            }
        }
        for path in ["/services/support/applications".to_owned(), format!("/applications/{file}")] {
            let method = if path.starts_with("/services") { "POST" } else { "PUT" };
            let answer = suite.raw(method, &path, json, "").await;
            assert_eq!(answer.refused(400), "malformed_body");
        }
        let answer = suite.post("/api/v1/services/support/open", &json!({})).await;
        assert_eq!(answer.pointers(400, "validation_failed"), [""]);
        let answer = suite.post("/api/v1/services/support/open", &json!({"open": "x"})).await;
        assert_eq!(answer.pointers(400, "validation_failed"), ["/open"]);
    }

    async fn who_may_not_call(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let calls = [
            ("GET", "/services"), ("GET", "/services/support"), ("GET", "/eForms/none"),
            ("GET", "/services/support/eForms"), ("GET", "/applications"), ("GET", "/tasks"),
            ("GET", "/applications/none"), ("PUT", "/applications/none"),
            ("GET", "/tasks/none"), ("POST", "/tasks/none/complete"),
            ("POST", "/services/support/applications"), ("GET", "/data/statistics"),
            ("DELETE", "/services/support"), ("GET", "/documents/none"),
        ];
        for (method, path) in calls {
            for sent in ["", "Bearer x", "Basic YTpi", "Bearer"] {
                let answer = suite.send(method, path, |request| {
                    request.headers_mut().insert("authorization", sent.parse().unwrap());
                    *request.body_mut() = submission("p", 5).to_string().into();
                }).await;
                assert_eq!(answer.refused(401), "unauthorized", "{method} {path} {sent}");
                assert_eq!(answer.headers["www-authenticate"], "Bearer");
            }
        }
        let bearer = machine("nobody", &["payments:*"]);
        suite.as_caller(&bearer).await;
        for (method, path) in calls {
            let answer = suite.call(method, path, &submission("p", 5)).await;
            assert_eq!(answer.refused(403), "scope_missing", "{method} {path}");
        }
        let applicant = person("p1", APPLICANT);
        suite.as_caller(&applicant).await;
        suite.submit("p1", 500).await;
        let other = suite.post("/services/support/applications", &submission("p2", 500)).await;
        assert_eq!(other.refused(403), "not_the_applicant");
    }

    async fn documents(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        suite.as_caller(&person("p1", APPLICANT)).await;
        let part = |head: &str, content: &str| format!(
            "--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
        let kind = "multipart/form-data; boundary=b";
        let send = async |body: String| suite.raw("POST", "/documents", kind, body).await;
        let pdf = part("name=\"file\"; filename=\"../../etc/a.pdf\"", "%PDF-1.7 x");
        let one = send(format!("{pdf}--b--\r\n")).await.ok();
        assert_eq!(names(&one), ["code", "message", "type", "url"]);
        assert_eq!((&one["code"], &one["type"]), (&json!(200), &json!("application/pdf")));
        let again = send(format!("{pdf}--b--\r\n")).await.ok();
        assert_eq!(again["url"], one["url"]);
        let encoded = part("name=\"file\"", "V2UgbG92ZSBqc29uIQ==");
        let two = send(format!("{pdf}{encoded}--b--\r\n")).await.ok();
        assert_eq!(two["documents"][0]["url"], one["url"]);
        assert_eq!(two["documents"][1]["type"], "text/plain");
        let urls = [&one["url"], &two["url"], &two["documents"][1]["url"]].map(text);
        let kept = suite.get(&urls[2]).await;
        assert_eq!(kept.bytes, b"We love json!");
        assert_eq!(kept.headers["content-disposition"], "attachment");
        let both = suite.get(&urls[1]).await;
        let kind = both.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("multipart/mixed; boundary="), "{kind}");
        assert!(String::from_utf8(both.bytes).unwrap().contains("We love json!\r\n"));
        let form = "application/x-www-form-urlencoded";
        let body = "file=V2UgbG92ZSBqc29uIQ%3D%3D";
        let same = suite.raw("POST", "/documents?additionalMetadata=x", form, body).await.ok();
        assert_eq!(text(&same["url"]), urls[2]);
        let mut sent = submission("p1", 500);
        sent["documentUrls"] = json!(urls);
        let path = "/services/support/applications";
        let file = suite.post(path, &sent).await.ok();
        assert_eq!(file["applicationData"]["documentUrls"], json!(urls));
        suite.as_caller(&person("p2", APPLICANT)).await;
        for url in &urls {
            assert_eq!(suite.get(url).await.refused(404), "document_not_found");
            let mut stolen = submission("p2", 500);
            stolen["documentUrls"] = json!([url]);
            let answer = suite.post(path, &stolen).await;
            assert_eq!(answer.pointers(422, "submission_invalid"), ["/documentUrls/0"]);
        }
    }

    async fn uploads_that_are_none(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let kind = "multipart/form-data; boundary=b";
        let part = |name: &str, content: &str| format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n\
             {content}\r\n--b--\r\n");
        let form = "application/x-www-form-urlencoded";
        let encoded = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n%%\r\n--b--\r\n";
        for (kind, body) in [
            (kind, String::new()),
            (kind, part("other", "x")),
            (kind, part("file", "")),
            (kind, "no multipart".to_owned()),
            (kind, encoded.to_owned()),
            ("multipart/form-data", part("file", "x")),
            (form, String::new()),
            (form, "file=".to_owned()),
            (form, "file=*".to_owned()),
        ] {
            let answer = suite.raw("POST", "/documents", kind, body.clone()).await;
            assert_eq!(answer.pointers(400, "validation_failed"), ["/file"], "{kind} {body}");
        }
        let answer = suite.raw("POST", "/documents", "application/json", "{}").await;
        assert_eq!(answer.refused(415), "unsupported_media_type");
        let answer = suite.raw("POST", "/documents", kind, part("file", "<svg onload=x>")).await;
        assert_eq!(answer.refused(415), "media_type_not_allowed");
        let answer = suite.raw("POST", "/documents", kind, part("file", &"x".repeat(4 << 20)));
        assert_eq!(answer.await.refused(413), "document_too_large");
        let answer = suite.raw("POST", "/documents", kind, part("file", &"x".repeat(17 << 20)));
        assert_eq!(answer.await.refused(413), "payload_too_large");
    }
}
