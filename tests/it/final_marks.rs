//! The marks with which readers keep what they know of final blocks.

use std::sync::Arc;

use cairn_domain::Position;
use cairn_engine::{runner::rebuild_offline, store::FinalMark};

use crate::{
    fold_properties::{block_on, chains},
    support::{Site, fresh_fold, never},
};

fn mark(site: &Site, at: Option<Position>) -> Option<FinalMark> {
    let view = Arc::clone(&site.store).view(at).expect("a view");
    view.final_mark()
}

#[test]
fn a_replay_begins_a_new_mark_even_if_nothing_was_appended_since_the_start() {
    block_on(async {
        let chain = chains(11, 40);
        let site = fresh_fold(&chain.commits).await.reopen().await;
        let position = *site.store.position().borrow();
        let mut marks = vec![mark(&site, None)];
        rebuild_offline(&site.log, &site.store, &[], &|_, _| ())
            .await
            .expect("a rebuild");
        marks.push(mark(&site, None));
        let runner = site.run(1000);
        let names = vec!["transactions".to_owned()];
        let rebuilt = runner.rebuild(names, |_, _| (), never()).await;
        rebuilt.expect("a rebuild");
        runner.stop().await.expect("a fold without failure");
        marks.push(mark(&site, None));
        assert_eq!(*site.store.position().borrow(), position);
        for (index, mark) in marks.iter().enumerate() {
            assert!(mark.is_some(), "{marks:?}");
            assert!(!marks[..index].contains(mark), "{marks:?}");
        }
        let before = Position(position.0 - 1);
        assert_eq!(mark(&site, Some(before)), None, "a view from before it");
        assert_eq!(
            mark(&site, Some(position)),
            marks[2],
            "it holds until the next"
        );
    });
}
