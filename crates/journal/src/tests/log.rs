use super::*;
use crate::merkle::{consistent, root_of_inclusion};
use crate::note::Head;
use crate::store::log as sql;
use crate::tree::{Edge, Reader, counted, stored};

both_engines! {
    async fn proofs_come_from_tiles(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        let mut roots = Vec::new();
        // Enough for a full tile, a second level and a ragged end.
        for (n, count) in [1_usize, 254, 2, 300, 400].into_iter().enumerate() {
            bench.db.write("test.many", (n, count), |tx, (n, count)| {
                for m in 0..*count {
                    let entry = Entry::new("x.y.z").subject("s", format!("{n}-{m}"));
                    append(tx, &Origin::actor("a"), entry);
                }
                Box::pin(async { Ok::<(), publica_store::StoreError>(()) })
            })
            .await
            .unwrap();
            bench.journal.catch_up(&Tenant::default()).await.unwrap();
            let row = sql::last_checkpoint(&bench.db).await.unwrap().unwrap();
            let epoch = sql::last_epoch(&bench.db).await.unwrap().unwrap();
            let key = crate::epoch::verifier(&epoch).unwrap();
            let head = Head::parse(key.open(&row.note).unwrap()).unwrap();
            assert_eq!(head.size, counted(sql::size(&bench.db).await.unwrap()));
            roots.push(head);
        }
        let last = roots.last().unwrap().clone();
        let mut reader = Reader::new(&bench.db);
        for head in &roots {
            assert_eq!(reader.root(head.size).await.unwrap(), head.root);
            let proof = reader.consistency(head.size, last.size).await.unwrap();
            assert!(consistent(head.size, last.size, &head.root, &last.root, &proof));
        }
        for position in (0..last.size).step_by(13) {
            let (from, to) = (stored(position), stored(position + 1));
            let leaf = sql::leaves(&bench.db, from, to).await.unwrap();
            let leaf = sql::hash(&leaf).unwrap();
            let proof = reader.inclusion(position, last.size).await.unwrap();
            assert_eq!(root_of_inclusion(position, last.size, &leaf, &proof), Some(last.root));
        }
        bench.stop().await;
    }

    async fn another_process_goes_on_where_one_stopped(db: TestDatabase) {
        let keyring = keyring();
        for round in 0..3 {
            let bench = Bench::with(&db, keyring.clone(), config()).await;
            bench.run();
            for n in 0..7 {
                bench.add(n, "p").await;
            }
            bench.journal.catch_up(&Tenant::default()).await.unwrap();
            let size = sql::size(&bench.db).await.unwrap();
            assert_eq!(size, 7 * (round + 1));
            assert_eq!(sql::epochs(&bench.db, 0, 10).await.unwrap().len(), 1);
            bench.stop().await;
        }
    }

    async fn the_mark_of_a_restore_opens_a_new_epoch_once(db: TestDatabase) {
        let keyring = keyring();
        for (round, epochs) in [(0, 1), (1, 2), (2, 2)] {
            let bench = Bench::with(&db, keyring.clone(), config()).await;
            bench.run();
            bench.add(round, "p").await;
            bench.journal.catch_up(&Tenant::default()).await.unwrap();
            assert_eq!(sql::epochs(&bench.db, 0, 10).await.unwrap().len(), epochs);
            if round == 0 {
                bench.db.write("test.restore", (), |tx, ()| Box::pin(async move {
                    let mark = crate::Cursor { epoch: 1, position: 0 };
                    crate::move_cursor(tx, crate::RESTORED_CURSOR, mark).await
                }))
                .await
                .unwrap();
            }
            bench.stop().await;
        }
    }

    async fn a_restored_store_opens_a_new_epoch(db: TestDatabase) {
        let keyring = keyring();
        let witness = db.dir().join("witness");
        let config = JournalConfig { witness_dir: Some(witness.clone()), ..config() };
        let bench = Bench::with(&db, keyring.clone(), config.clone()).await;
        bench.run();
        for n in 0..5 {
            bench.add(n, "p").await;
        }
        bench.journal.catch_up(&Tenant::default()).await.unwrap();
        let row = sql::last_checkpoint(&bench.db).await.unwrap().unwrap();
        bench.stop().await;

        // What a backup does not know was signed all the same: the witness tells.
        let note = std::fs::read_to_string(witness.join("payments-default.checkpoint")).unwrap();
        assert_eq!(note, row.note);
        let longer = {
            let bench = Bench::with(&db, keyring.clone(), config.clone()).await;
            let epoch = sql::last_epoch(&bench.db).await.unwrap().unwrap();
            let keeper = bench.journal.keeper();
            let signing = &crate::sealed::SIGNING;
            let seed = keeper.keyring.open_block(signing, &epoch.sealed_seed).unwrap();
            let signer = crate::note::Signer::from_seed(
                epoch.origin.clone(),
                &<[u8; 32]>::try_from(seed).unwrap(),
            )
            .unwrap();
            let head = Head { origin: epoch.origin, size: 9, root: [4; 32] };
            let note = signer.sign(&head.text());
            bench.stop().await;
            note
        };
        std::fs::write(witness.join("payments-default.checkpoint"), &longer).unwrap();

        let bench = Bench::with(&db, keyring, config).await;
        bench.run();
        bench.add(9, "p").await;
        bench.journal.catch_up(&Tenant::default()).await.unwrap();
        let epochs = sql::epochs(&bench.db, 0, 10).await.unwrap();
        assert_eq!(epochs.len(), 2);
        assert_eq!(epochs[1].first_position, 5);
        assert_eq!(epochs[1].last_known.as_deref(), Some(longer.as_str()));
        assert_eq!(epochs[0].public_key, epochs[1].public_key);
        assert_ne!(epochs[0].origin, epochs[1].origin);
        let all = crate::store::entries::Filter::default();
        let placed = crate::store::entries::list(&bench.db, &all, 5, 6, 1).await.unwrap();
        let first = placed[0].entry.clone().unwrap();
        assert_eq!(first.action, "journal.epoch.opened");
        let body = String::from_utf8(first.body.unwrap()).unwrap();
        assert!(body.contains("\"last_known_size\":9"), "{body}");
        assert_eq!(sql::size(&bench.db).await.unwrap(), 7);

        // A mark that a restore left opens one when the journal next looks, and only then.
        assert!(crate::mark_restored(&bench.db).await.unwrap());
        for _ in 0..2 {
            bench.journal.keeper().current(&bench.db).await.unwrap();
            assert_eq!(sql::epochs(&bench.db, 0, 10).await.unwrap().len(), 3);
        }
        bench.stop().await;
    }

    async fn the_edge_read_back_is_the_edge_grown(db: TestDatabase) {
        let bench = Bench::new(&db).await;
        bench.run();
        for n in 0..3 {
            bench.add(n, "p").await;
        }
        bench.journal.catch_up(&Tenant::default()).await.unwrap();
        let edge = Edge::load(&bench.db).await.unwrap();
        let row = sql::last_checkpoint(&bench.db).await.unwrap().unwrap();
        assert_eq!(edge.root().to_vec(), row.root);
        bench.stop().await;
    }
}
