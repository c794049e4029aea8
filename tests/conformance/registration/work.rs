//! The work of operators, and what is counted of it.

use super::*;

fn decision(code: &str, reason: &str) -> Value {
    json!({"data": {"decision": {"code": code, "text": reason}}})
}

impl Suite {
    /// The path of the open task of a file.
    async fn open_task(&self, file: &Value) -> String {
        let path = format!("/tasks?open=true&fileId={}", text(&file["fileId"]));
        format!("/tasks/{}", text(&self.get(&path).await.ok()[0]["taskId"]))
    }
}

both_engines! {
    async fn decisions(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = suite.submit("p1", 800).await;
        let path = format!("/applications/{}", text(&file["fileId"]));
        let task = suite.open_task(&file).await;
        let complete = format!("{task}/complete");
        let body = json!({"data": {"decision": {"code": "APPROVED"}, "checked": true,
            "visit": {"day": "2026-01-01"}}});
        let done = suite.post(&complete, &body).await.ok();
        assert_eq!(names(&done), ["fileId", "serviceId", "status", "taskId", "variables"]);
        assert_eq!(done["status"], json!({"code": "APPROVED", "title": "Approved"}));
        assert_eq!(done["variables"], json!({"data": {"data":
            {"form": {"checked": true}, "visit": {"day": "2026-01-01"}}}}));
        assert_eq!(suite.post(&complete, &body).await.ok(), done);
        let other = suite.post(&complete, &decision("REJECTED", "no")).await;
        assert_eq!(other.refused(409), "task_already_completed");
        assert!(text(&other.body["message"]).contains("APPROVED"));
        assert_eq!(suite.get(&task).await.ok()["data"]["visit"]["day"], "2026-01-01");
        // The second role approves unless it says otherwise.
        let second = suite.open_task(&file).await;
        let done = suite.send("POST", &format!("{second}/complete"), |_| {}).await.ok();
        assert_eq!(done["status"]["code"], "APPROVED");
        let ended = suite.get(&path).await.ok();
        assert_eq!((&ended["ended"], &ended["status"]["code"]), (&json!(true), &json!("APPROVED")));
        let late = suite.call("PUT", &path, &json!({"applicantId": "p1"})).await;
        assert_eq!(late.refused(409), "file_ended");
    }

    async fn what_is_wrong_with_a_decision(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = suite.submit("p1", 800).await;
        let task = suite.open_task(&file).await;
        let complete = format!("{task}/complete");
        for (body, pointer) in [
            (json!({"data": 1}), "/data"),
            (json!([]), ""),
            (json!({"data": {"decision": "APPROVED"}}), "/data/decision"),
            (json!({"data": {"decision": ["APPROVED"]}}), "/data/decision"),
            (json!({"data": {"decision": {"code": 1}}}), "/data/decision/code"),
            (decision("MAYBE", ""), "/data/decision/code"),
            (decision("approved", ""), "/data/decision/code"),
            (json!({"data": {"decision": {"text": []}}}), "/data/decision/text"),
            (json!({"data": {"decision": {"marks": "x"}}}), "/data/decision/marks"),
            (json!({"data": {"decision": {"marks": ["x", 1]}}}), "/data/decision/marks/1"),
            (decision("APPROVED", &"x".repeat(2_001)), "/data/decision/text"),
        ] {
            let answer = suite.post(&complete, &body).await;
            assert_eq!(answer.pointers(400, "validation_failed"), [pointer], "{body}");
        }
        let none = suite.post(&complete, &json!({})).await;
        assert_eq!(none.refused(422), "decision_required");
        let back = suite.post(&complete, &decision("SENDBACK", " ")).await;
        assert_eq!(back.refused(422), "reason_required");
        let unknown = suite.post("/tasks/none/complete", &decision("APPROVED", "")).await;
        assert_eq!(unknown.refused(404), "task_not_found");
        let approve = decision("APPROVED", "");
        for (token, status, code) in [
            (operator("p1", "clerk"), 403, "own_application"),
            (operator("o1", "none"), 404, "task_not_found"),
            (operator("p1", "none"), 403, "role_required"),
            (person("p1", APPLICANT), 403, "scope_missing"),
        ] {
            suite.as_caller(&token).await;
            assert_eq!(suite.post(&complete, &approve).await.refused(status), code);
        }
        suite.as_caller(&operator("o1", "clerk")).await;
        suite.post(&complete, &approve).await.ok();
        suite.as_caller(&operator("o2", "head")).await;
        // Who worked on the file sees it; who did not hold the role may not see its answer.
        assert_eq!(suite.post(&complete, &approve).await.refused(403), "role_required");
        let second = suite.open_task(&file).await;
        let offered = suite.post(&format!("{second}/complete"), &decision("SENDBACK", "x")).await;
        assert_eq!(offered.refused(422), "outcome_not_offered");
    }

    async fn corrections(db: TestDatabase) {
        let mut suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let file = suite.submit("p1", 500).await;
        let path = format!("/applications/{}", text(&file["fileId"]));
        let body = |income: i64| json!({"applicantId": "p1",
            "formData": {"data": {"household": {"income": income}}}});
        suite.as_caller(&person("p1", APPLICANT)).await;
        let early = suite.call("PUT", &path, &body(400)).await;
        assert_eq!(early.refused(409), "file_not_sent_back");
        // The operator whose turn it is adds to the file.
        suite.as_caller(&operator("o1", "clerk")).await;
        let changed = suite.call("PUT", &path, &body(450)).await.ok();
        assert_eq!(changed["applicationData"]["formData"]["data"]["household"]["income"], 450);
        let events = format!("{path}/events").replace("/applications", "/api/v1/applications");
        let history = suite.get(&events).await.ok();
        assert_eq!(history["events"][1]["actor"], "o1");
        assert_eq!(history["events"][1]["changedFields"], json!(["household.income"]));
        let task = suite.open_task(&file).await;
        let back = json!({"data": {"decision": {"code": "SENDBACK", "text": "Which income?",
            "marks": ["household.income"]}}});
        let done = suite.post(&format!("{task}/complete"), &back).await.ok();
        assert_eq!(done["status"], json!({"code": "SENDBACK", "title": "Sent back"}));
        suite.as_caller(&person("p1", APPLICANT)).await;
        let seen = suite.get(&path).await;
        let etag = seen.headers["etag"].clone();
        let seen = seen.ok();
        assert_eq!(seen["status"]["code"], "SENDBACK");
        assert_eq!(seen["marks"], json!(["household.income"]));
        for (sent, status, code) in [
            (json!({"applicantId": "p2"}), 403, "applicant_changed"),
            (body(-1), 422, "submission_invalid"),
            (json!({"formData": {"eFormId": "other"}}), 422, "submission_invalid"),
        ] {
            assert_eq!(suite.call("PUT", &path, &sent).await.refused(status), code);
        }
        let put = async |etag: &str, income: i64| suite.send("PUT", &path, |request| {
            request.headers_mut().insert("if-match", etag.parse().unwrap());
            *request.body_mut() = body(income).to_string().into();
        }).await;
        assert_eq!(put("\"0\"", 400).await.refused(412), "stale_copy");
        let again = put(etag.to_str().unwrap(), 400).await.ok();
        assert_eq!(again["status"]["code"], "PENDING");
        assert_eq!(again["applicationData"]["applicationName"], "Amya Yuko");
    }

    async fn statistics(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        suite.publish(&support()).await;
        let none = suite.get("/data/statistics").await.ok();
        assert_eq!(none, json!([{"processed": 0, "approved": 0, "sentBack": 0, "rejected": 0,
            "references": {}}]));
        suite.submit("p1", 50).await;
        suite.submit("p2", 5_000).await;
        let file = suite.submit("p3", 500).await;
        let task = suite.open_task(&file).await;
        suite.post(&format!("{task}/complete"), &decision("SENDBACK", "x")).await.ok();
        let named = "registrationName=Household%20support";
        for path in ["/data/statistics", "/data/statistics/1.0"] {
            let rows = suite.get(&format!("{path}?{named}")).await.ok();
            assert_eq!(rows, json!([{"processed": 3, "approved": 1, "sentBack": 1, "rejected": 1,
                "references": {"registrationName": "Household support"}}]));
        }
        let rows = suite.get("/data/statistics?role=clerk&operator=admin").await.ok();
        assert_eq!(rows[0]["processed"], 1);
        assert_eq!(rows[0]["references"], json!({"role": "clerk", "operator": "admin"}));
        assert_eq!(suite.get("/data/statistics?role=%01").await.ok()[0]["processed"], 0);
        let query = "startDate=2024-01-30&endDate=2024-02-02&timeframe=month";
        let rows = suite.get(&format!("/data/statistics?{query}")).await.ok();
        let reference = |first: &str, last: &str| json!({"processed": 0, "approved": 0,
            "sentBack": 0, "rejected": 0,
            "references": {"startDate": first, "endDate": last, "timeframeMonth": true}});
        let january = reference("2024-01-30", "2024-01-31");
        assert_eq!(rows, json!([january, reference("2024-02-01", "2024-02-02")]));
        for timeframe in ["day", "week", "month", "year"] {
            let path = format!("/data/statistics?timeframe={timeframe}&{named}");
            let rows = suite.get(&path).await.ok();
            assert_eq!(rows.as_array().unwrap().len(), 1);
            assert_eq!(rows[0]["processed"], 3);
        }
        for (bad, pointer) in [
            ("startDate=2024-13-01", "/startDate"), ("endDate=2023-02-29", "/endDate"),
            ("startDate=20240101", "/startDate"), ("endDate=", "/endDate"),
            ("startDate=2024-02-01&endDate=2024-01-01", "/startDate"),
            ("timeframe=hour", "/timeframe"), ("timeframe=Day", "/timeframe"),
            ("role=%00", "/role"), ("registrationName=%00", "/registrationName"),
            ("startDate=1970-01-01&endDate=2999-01-01&timeframe=day", "/timeframe"),
        ] {
            let answer = suite.get(&format!("/data/statistics?{bad}")).await;
            assert_eq!(answer.pointers(400, "validation_failed"), [pointer], "{bad}");
        }
        for name in ["None", "household%20support", "%01"] {
            let answer = suite.get(&format!("/data/statistics?registrationName={name}")).await;
            assert_eq!(answer.refused(404), "registration_not_found");
        }
    }
}
