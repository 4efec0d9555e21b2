//! Store, log and keyring together: relay, consumer, timers, deliveries, rebuild.

use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{Answer, Fact, NotNow, Store, Unit, Workers};
use hearthline_tests::bench::{self, Folder};
use hearthline_tests::folds::Folds;
use hearthline_tests::until;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Projects every call.
struct Calls;

#[async_trait]
impl Inbound for Calls {
    fn topics(&self) -> &'static [&'static Topic] {
        &[&topics::CALL]
    }
    fn triage(&self, _: &Fact) -> Triage {
        Triage::Project
    }
    async fn act(&self, _: &Fact) -> Result<Reaction, NotNow> {
        Ok(Reaction::Project)
    }
    fn archives(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn an_appended_event_reaches_the_view_of_another_service() {
    let folder = Folder::new();
    let (log, keys) = (Arc::new(folder.log().await), folder.keys().await);
    let from = Arc::new(folder.store("call-intake", vec![]).await);
    let to = Arc::new(folder.store("kpi-projection", vec![Arc::new(Folds::default())]).await);
    let sender = bench::kernel("call-intake", from.clone(), log.clone(), keys.clone());
    let receiver = bench::kernel("kpi-projection", to.clone(), log.clone(), keys.clone());
    let stop = CancellationToken::new();
    let workers = [
        tokio::spawn(Workers { kernel: sender.clone(), inbound: None, on_timer: None, couriers: vec![] }.run(stop.clone())),
        tokio::spawn(Workers { kernel: receiver, inbound: Some(Arc::new(Calls)), on_timer: None, couriers: vec![] }.run(stop.clone())),
    ];
    let stream = bench::stream();
    let write = sender.composer.write(stream, 0, vec![bench::opened(b"a fall"), bench::answered()], &bench::cause(), 2).await.unwrap();
    until("the store takes commands", async || match sender.store.append(Unit { writes: vec![write.clone()], ..Unit::default() }).await {
        Ok(Answer::Committed { position: 2 }) => Some(()),
        _ => None,
    })
    .await;
    until("the view has both", async || {
        let rows = to.query("select events, version, in_order from folds where stream = $1", &[stream.into()]).await.unwrap();
        rows.first().filter(|r| r.int(0) == 2 && r.int(1) == 2 && r.flag(2)).map(drop)
    })
    .await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
}
