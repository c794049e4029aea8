//! Subject keys through the public face, on both engines.

#![cfg(test)]

use std::sync::Arc;

use publica_seal::{Keyring, STATEMENTS, SealConfig, SealError, SubjectKey};
use publica_store::{Db, Migrations};
use publica_testkit::{both_engines, prepare_all};
use publica_types::{Secret, SystemEntropy, Uuid};

fn migrations() -> Migrations {
    Migrations::new("sample")
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
}

/// A keyring of two named keys, the given one active.
fn keyring(active: &str) -> Keyring {
    only(active, &["old", "new"])
}

fn only(active: &str, names: &[&str]) -> Keyring {
    // 32 bytes each, told apart by the name's first letter.
    let key = |name: &str| format!("{}{}=", &name[..1], "A".repeat(42));
    let keys: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"id":"{name}","key":"{}"}}"#, key(name)))
        .collect();
    let lookup = key("L");
    let set = format!(
        r#"{{"active":"{active}","lookup":"{lookup}","keys":[{}]}}"#,
        keys.join(",")
    );
    let config = SealConfig {
        keys: Some(Secret::new(set)),
        ..SealConfig::default()
    };
    Keyring::open(&config, Arc::new(SystemEntropy)).unwrap()
}

async fn subject(db: &Db, keyring: &Keyring, subject: &str) -> Result<SubjectKey, SealError> {
    let input = (keyring.clone(), subject.to_owned());
    db.write("test.subject", input, |tx, (keyring, subject)| {
        Box::pin(async move { keyring.subject(tx, subject).await })
    })
    .await
}

async fn subjects(
    db: &Db,
    keyring: &Keyring,
    names: Vec<String>,
) -> Result<Vec<SubjectKey>, SealError> {
    db.write(
        "test.subjects",
        (keyring.clone(), names),
        |tx, (keyring, names)| {
            Box::pin(async move {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                keyring.subjects(tx, &names).await
            })
        },
    )
    .await
}

async fn erase(db: &Db, keyring: &Keyring, subject: &str) -> bool {
    let input = (keyring.clone(), subject.to_owned());
    let erased = db.write("test.erase", input, |tx, (keyring, subject)| {
        Box::pin(async move { keyring.erase(tx, subject).await })
    });
    erased.await.unwrap()
}

publica_seal::sealed! {
    SINGLE = "sample.single" [sample(id: uuid).secret],
    PAIR = "sample.pair" [sample_pair(name: text, number: int).secret],
    THREE = "sample.three" [
        sample_three(a: text, b: text, c: uuid).secret where "kind = 'sealed'",
    ],
    OTHER = "sample.other" [],
}

publica_store::statements! {
    TABLE = {
        sqlite: "CREATE TABLE sample (id BLOB NOT NULL PRIMARY KEY, secret BLOB) STRICT",
        postgres: "CREATE TABLE sample (id UUID NOT NULL PRIMARY KEY, secret BYTEA)",
    },
    TABLE_PAIR = {
        sqlite: "CREATE TABLE sample_pair (name TEXT NOT NULL, number INTEGER NOT NULL, \
                 secret BLOB NOT NULL, PRIMARY KEY (name, number)) STRICT, WITHOUT ROWID",
        postgres: "CREATE TABLE sample_pair (name TEXT COLLATE \"C\" NOT NULL, \
                   number BIGINT NOT NULL, secret BYTEA NOT NULL, PRIMARY KEY (name, number))",
    },
    TABLE_THREE = {
        sqlite: "CREATE TABLE sample_three (a TEXT NOT NULL, b TEXT NOT NULL, c BLOB NOT NULL, \
                 kind TEXT NOT NULL, secret BLOB NOT NULL, PRIMARY KEY (a, b, c)) STRICT",
        postgres: "CREATE TABLE sample_three (a TEXT COLLATE \"C\" NOT NULL, \
                   b TEXT COLLATE \"C\" NOT NULL, c UUID NOT NULL, kind TEXT NOT NULL, \
                   secret BYTEA NOT NULL, PRIMARY KEY (a, b, c))",
    },
    PUT = "INSERT INTO sample (id, secret) VALUES ($1, $2)",
    PUT_PAIR = "INSERT INTO sample_pair (name, number, secret) VALUES ($1, $2, $3)",
    PUT_THREE = "INSERT INTO sample_three (a, b, c, kind, secret) VALUES ($1, $2, $3, $4, $5)",
    BREAK = "UPDATE sample SET secret = $1 WHERE id = (SELECT id FROM sample ORDER BY id LIMIT 1)",
    PAIRS = "SELECT secret FROM sample_pair WHERE LENGTH(secret) > 0",
}

/// Seven values in each column, and beside them what is empty, missing or of another kind.
async fn fill(db: &Db, keyring: &Keyring) {
    let filled = db.write("test.fill", keyring.clone(), |tx, keyring| {
        Box::pin(async move {
            for table in [TABLE, TABLE_PAIR, TABLE_THREE] {
                tx.query(table).execute().await?;
            }
            for number in 0..7_i64 {
                let id =
                    Uuid::from_u128(1 + u128::try_from(number * 1_000_003).unwrap_or_default());
                let secret = keyring.seal_block(&SINGLE, b"single");
                tx.query(PUT).bind(id).bind(secret).execute().await?;
                let secret = keyring.seal_block(&PAIR, b"pair");
                let name = ["", "Ω", "a\"'"][usize::try_from(number % 3).unwrap_or_default()];
                let put = tx.query(PUT_PAIR).bind(name).bind(number - 3);
                put.bind(secret).execute().await?;
                for kind in ["sealed", "plain"] {
                    let secret = match kind {
                        "sealed" => keyring.seal_block(&THREE, b"three"),
                        _ => b"plain".to_vec(),
                    };
                    let put = tx.query(PUT_THREE).bind("a").bind(kind).bind(id);
                    put.bind(kind).bind(secret).execute().await?;
                }
            }
            let put = tx.query(PUT).bind(Uuid::from_u128(u128::MAX));
            put.bind(Option::<Vec<u8>>::None).execute().await?;
            let put = tx.query(PUT_PAIR).bind("empty").bind(0_i64);
            put.bind(Vec::<u8>::new()).execute().await?;
            Ok::<_, publica_store::StoreError>(())
        })
    });
    filled.await.unwrap();
}

both_engines! {
    async fn a_thing_of_a_subject_has_a_key_of_its_own(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let keyring = keyring("new");
        let (one, two) = (
            subject(&db, &keyring, "p-1").await.unwrap(),
            subject(&db, &keyring, "p-2").await.unwrap(),
        );
        let (inner, wrapped) = one.make_inner("thing");
        assert_eq!(inner.subject(), "p-1");
        let sealed = inner.seal("field", b"secret");
        let again = one.open_inner("thing", &wrapped).unwrap();
        assert_eq!(again.open("field", &sealed).unwrap(), b"secret");
        assert!(one.open("field", &sealed).is_err(), "the subject's key alone does not open it");
        let (other, _) = one.make_inner("thing");
        assert!(other.open("field", &sealed).is_err());
        assert!(two.open_inner("thing", &wrapped).is_err());
        assert!(one.open_inner("else", &wrapped).is_err());
        let short = one.seal("thing", b"not a key");
        assert!(one.open_inner("thing", &short).is_err());
    }

    async fn every_statement_prepares(db: TestDatabase) {
        let db = db.db(migrations()).await;
        prepare_all(&db, STATEMENTS).await;
    }

    async fn a_field_opens_for_its_subject_only(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let keyring = keyring("old");
        let ann = subject(&db, &keyring, "ann").await.unwrap();
        let bob = subject(&db, &keyring, "bob").await.unwrap();
        let sealed = ann.seal("name", "Ann Ó Briain".as_bytes());
        assert!(!sealed.windows(3).any(|part| part == b"Ann"));
        assert_ne!(sealed, ann.seal("name", "Ann Ó Briain".as_bytes()));
        assert_eq!(ann.open_text("name", &sealed).unwrap(), "Ann Ó Briain");
        assert!(ann.open("phone", &sealed).is_err());
        assert!(bob.open("name", &sealed).is_err());

        // Another process reads the same key from the store.
        let reader = only("old", &["old"]);
        let again = reader.load(&db, "ann").await.unwrap().unwrap();
        assert_eq!(again.open_text("name", &sealed).unwrap(), "Ann Ó Briain");
        assert!(reader.load(&db, "nobody").await.unwrap().is_none());
        let stranger = Keyring::ephemeral(Arc::new(SystemEntropy));
        assert!(stranger.load(&db, "ann").await.is_err());
    }

    async fn those_who_ask_together_get_one_key(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let keyring = keyring("old");
        let asked = (0..24).map(|_| subject(&db, &keyring, "ann"));
        let keys = futures::future::join_all(asked).await;
        let sealed = keys[0].as_ref().unwrap().seal("f", b"x");
        for key in keys {
            assert_eq!(key.unwrap().open("f", &sealed).unwrap(), b"x");
        }
    }

    async fn an_erased_subject_stays_erased(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let keyring = keyring("old");
        let _ = subject(&db, &keyring, "ann").await.unwrap();
        let _ = subject(&db, &keyring, "bob").await.unwrap();
        assert!(erase(&db, &keyring, "ann").await);
        assert!(!erase(&db, &keyring, "ann").await);
        assert!(!erase(&db, &keyring, "nobody").await);
        let refused = subject(&db, &keyring, "ann").await.err();
        assert!(matches!(refused, Some(SealError::Erased)), "{refused:?}");
        assert!(matches!(keyring.load(&db, "ann").await, Err(SealError::Erased)));
        let names = vec!["ann".to_owned(), "carol".to_owned()];
        assert!(matches!(subjects(&db, &keyring, names).await, Err(SealError::Erased)));
        let left = keyring.load_many(&db, &["ann", "bob", "carol"]).await.unwrap();
        assert_eq!(left.into_keys().collect::<Vec<_>>(), ["bob"]);
    }

    async fn many_subjects_get_keys_in_one_statement(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let keyring = keyring("old");
        let known = subject(&db, &keyring, "s-500").await.unwrap();
        let sealed = known.seal("f", b"x");
        let mut names: Vec<String> = (0..5_000).map(|index| format!("s-{index}")).collect();
        names.push("s-7".to_owned());
        names.push("O'Brien \"q\" \\ Ω".to_owned());
        let keys = subjects(&db, &keyring, names.clone()).await.unwrap();
        let order: Vec<&str> = keys.iter().map(SubjectKey::subject).collect();
        assert_eq!(order, names);
        assert_eq!(keys[500].open("f", &sealed).unwrap(), b"x");
        let twice = keys[7].seal("f", b"y");
        assert_eq!(keys[5_000].open("f", &twice).unwrap(), b"y");
        let again = subjects(&db, &keyring, names).await.unwrap();
        assert_eq!(again[7].open("f", &twice).unwrap(), b"y");
        assert!(subjects(&db, &keyring, Vec::new()).await.unwrap().is_empty());
    }

    async fn keys_move_to_the_new_key_encryption_key(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let old = keyring("old");
        let names: Vec<String> = (0..25).map(|index| format!("s-{index}")).collect();
        let keys = subjects(&db, &old, names).await.unwrap();
        let sealed = keys[3].seal("f", b"x");
        assert!(erase(&db, &old, "s-4").await);

        let new = keyring("new");
        let mut seen = Vec::new();
        let mut watch = |column, count| seen.push((column, count));
        let rotated = new.rotate(&db, &[], 10, &mut watch).await.unwrap();
        assert_eq!(rotated.moved, 24);
        let column = "subject_key.wrapped";
        assert_eq!(seen, [(column, 10), (column, 20), (column, 24)]);
        let again = new.rotate(&db, &[], 10, &mut |_, _| {}).await.unwrap();
        assert_eq!(again, publica_seal::Rotated::default());
        let alone = only("new", &["new"]);
        let key = alone.load(&db, "s-3").await.unwrap().unwrap();
        assert_eq!(key.open("f", &sealed).unwrap(), b"x");
        assert!(matches!(alone.load(&db, "s-4").await, Err(SealError::Erased)));
        assert!(matches!(
            only("old", &["old"]).load(&db, "s-3").await,
            Err(SealError::UnknownKey(name)) if name == "new"
        ));
    }
    async fn secrets_of_a_block_move_whatever_their_keys_are(db: TestDatabase) {
        let db = db.db(migrations()).await;
        let (old, new) = (keyring("old"), keyring("new"));
        fill(&db, &old).await;
        for column in SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
        // A value that was tampered with stays, is told of, and stops nothing.
        let broken = old.seal_block(&OTHER, b"of another purpose");
        db.write("test.break", broken, |tx, broken| {
            Box::pin(async move {
                let query = tx.query(BREAK).bind(&broken[..]);
                query.execute().await.map(drop)
            })
        })
        .await
        .unwrap();

        let before = new.census(&db, SEALED, 3).await.unwrap();
        let count = |census: &publica_seal::Census, column: &str, key: &str| {
            census.under[column].get(key).copied().unwrap_or_default()
        };
        for column in ["sample.secret", "sample_pair.secret", "sample_three.secret"] {
            assert_eq!(count(&before, column, "old"), 7, "{column}");
            assert_eq!(count(&before, column, "new"), 0, "{column}");
        }
        let rotated = new.rotate(&db, SEALED, 3, &mut |_, _| {}).await.unwrap();
        assert_eq!(rotated.moved, 20);
        assert_eq!(rotated.unopened, [("sample.secret", 1)].into());
        assert!(rotated.reason.unwrap().starts_with("sample.secret: "));
        let after = new.census(&db, SEALED, 3).await.unwrap();
        for column in ["sample_pair.secret", "sample_three.secret"] {
            assert_eq!(count(&after, column, "new"), 7, "{column}");
            assert_eq!(count(&after, column, "old"), 0, "{column}");
        }
        assert_eq!(count(&after, "sample.secret", "new"), 6);
        assert_eq!(count(&after, "sample.secret", "old"), 1);
        // Rows of another kind in the same column are none of this purpose's business.
        assert_eq!(count(&after, "sample_three.secret", "none"), 0);

        // Without the old key all opens but what was broken.
        let alone = only("new", &["new"]).census(&db, SEALED, 3).await.unwrap();
        assert_eq!(alone.unopened, [("sample.secret", 1)].into());
        let rows: Vec<(Vec<u8>,)> = db.query(PAIRS).fetch_all().await.unwrap();
        for (sealed,) in rows {
            assert_eq!(only("new", &["new"]).open_block(&PAIR, &sealed).unwrap(), b"pair");
        }
    }
}
