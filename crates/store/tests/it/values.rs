//! Values, rows and statements.

use publica_store::Engine;
use publica_testkit::{both_engines, prepare_all};
use publica_types::{Timestamp, Uuid};

use crate::support::{self, open};

publica_store::statements! {
    PUT = "INSERT INTO sample (sample_id, at, until, text, bytes, flag, big) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
    GET = "SELECT sample_id, at, until, text, bytes, flag, big FROM sample WHERE sample_id = $1",
    AFTER = "SELECT sample_id FROM sample WHERE (at, sample_id) > ($1, $2) ORDER BY at, sample_id",
    // Neither engine reads the other's lists.
    AMONG = {
        sqlite: "SELECT big FROM sample WHERE sample_id IN \
            (SELECT unhex(value) FROM json_each($1)) ORDER BY big",
        postgres: "SELECT big FROM sample WHERE sample_id IN \
            (SELECT UNNEST($1::UUID[])) ORDER BY big",
    },
    // As above, in bulk, with an absent value among the present ones.
    BULK = {
        sqlite: "INSERT INTO sample (sample_id, at, until, text, bytes, flag, big) \
            SELECT unhex(a.value), b.value, c.value, d.value, unhex(e.value), 0, a.key \
            FROM json_each($1) a JOIN json_each($2) b ON b.key = a.key \
            JOIN json_each($3) c ON c.key = a.key JOIN json_each($4) d ON d.key = a.key \
            JOIN json_each($5) e ON e.key = a.key",
        postgres: "INSERT INTO sample (sample_id, at, until, text, bytes, flag, big) \
            SELECT u.a, u.b, u.c, u.d, u.e, FALSE, u.n - 1 FROM UNNEST($1::UUID[], \
            $2::TIMESTAMPTZ[], $3::TIMESTAMPTZ[], $4::TEXT[], $5::BYTEA[]) \
            WITH ORDINALITY AS u (a, b, c, d, e, n)",
    },
}

publica_types::typed_id! {
    /// Names a sample.
    pub(crate) struct SampleId;
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Sample {
    #[sqlx(rename = "sample_id")]
    id: SampleId,
    at: Timestamp,
    until: Option<Timestamp>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    flag: bool,
    big: i64,
}

fn sample(number: u8) -> Sample {
    Sample {
        id: SampleId::from_uuid(Uuid::from_bytes([number; 16])),
        at: Timestamp::from_micros(1_790_000_000_123_456 + i64::from(number)),
        until: None,
        text: Some("żółw ሰላም".to_owned()),
        bytes: Some(vec![0, 1, 255]),
        flag: true,
        big: i64::MIN + i64::from(number),
    }
}

both_engines! {
    async fn statements_are_understood(database: TestDatabase) {
        let db = open(&database).await;
        prepare_all(&db, publica_store::STATEMENTS).await;
        prepare_all(&db, support::ALL).await;
        prepare_all(&db, ALL).await;
    }

    async fn rows_come_back_as_they_went(database: TestDatabase) {
        let db = open(&database).await;
        let samples = [
            sample(1),
            Sample { until: Some(Timestamp::from_micros(-1)), flag: false, ..sample(2) },
            Sample { text: None, bytes: None, at: Timestamp::EPOCH, ..sample(3) },
        ];
        for sample in samples.clone() {
            db.write("tests.put", sample, |tx, row| Box::pin(async move {
                tx.query(PUT)
                    .bind(row.id)
                    .bind(row.at)
                    .bind(row.until)
                    .bind(row.text.as_deref())
                    .bind(row.bytes.as_deref())
                    .bind(row.flag)
                    .bind(row.big)
                    .execute()
                    .await
            }))
            .await
            .unwrap();
        }
        for sample in &samples {
            let found: Sample = db.query(GET).bind(sample.id).fetch_one().await.unwrap();
            assert_eq!(found, *sample);
        }
        let after = db.query(AFTER).bind(samples[2].at).bind(samples[2].id);
        let after: Vec<SampleId> = after.fetch_scalars().await.unwrap();
        assert_eq!(after, [samples[0].id, samples[1].id]);
        let among: Vec<i64> = db
            .query(AMONG)
            .bind_list(&[samples[0].id.as_uuid(), samples[2].id.as_uuid()])
            .fetch_scalars()
            .await
            .unwrap();
        assert_eq!(among, [samples[0].big, samples[2].big]);
    }

    async fn lists_carry_absent_values(database: TestDatabase) {
        let db = open(&database).await;
        let ids = [sample(1).id, sample(2).id];
        let done = db.write("tests.bulk", ids, |tx, ids| Box::pin(async move {
            tx.query(BULK)
                .bind_list(&ids.map(|id| id.as_uuid()))
                .bind_list(&[Timestamp::from_micros(5), Timestamp::from_micros(6)])
                .bind_list(&[None, Some(Timestamp::from_micros(7))])
                .bind_list(&[Some("it's \"quoted\""), None])
                .bind_list(&[None, Some(vec![9_u8, 0])])
                .execute()
                .await
        }));
        assert_eq!(done.await.unwrap(), 2);
        let found: Sample = db.query(GET).bind(ids[1]).fetch_one().await.unwrap();
        assert_eq!(found, Sample {
            id: ids[1],
            at: Timestamp::from_micros(6),
            until: Some(Timestamp::from_micros(7)),
            text: None,
            bytes: Some(vec![9, 0]),
            flag: false,
            big: 1,
        });
        let found: Sample = db.query(GET).bind(ids[0]).fetch_one().await.unwrap();
        assert_eq!(found.text.as_deref(), Some("it's \"quoted\""));
        assert_eq!((found.until, found.bytes), (None, None));
    }
}

#[test]
fn a_statement_has_a_text_for_each_engine() {
    assert_ne!(AMONG.text(Engine::Sqlite), AMONG.text(Engine::Postgres));
    assert_eq!(GET.text(Engine::Sqlite), GET.text(Engine::Postgres));
}
