//! Timers and deliveries: what the kernel does by the clock and towards the outside.

use async_trait::async_trait;
use bytes::Bytes;
use hearthline_eventing::deliveries::{self, Courier, Found, Guard, Sent, Settled};
use hearthline_eventing::timers::{self, Due, OnTimer};
use hearthline_eventing::{Answer, Delivery, DeliveryChange, DeliveryMove, DeliveryState, Kernel, NewDelivery, NotNow, Store, TimerChange, Unit};
use hearthline_nhs::StreamId;
use hearthline_store::SqliteStore;
use hearthline_tests::bench::{self, Folder, id, stream};
use hearthline_tests::until;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Less than half of the time after which a worker looks by himself.
const WOKEN_WITHIN: Duration = Duration::from_secs(2);

struct Station {
    folder: Folder,
    store: SqliteStore,
    kernel: Kernel,
}

impl Station {
    async fn new() -> Self {
        Self::in_folder(Folder::new()).await
    }
    async fn in_folder(folder: Folder) -> Self {
        let (log, keys) = (Arc::new(folder.log().await), folder.keys().await);
        let store = folder.store("call-intake", vec![]).await;
        let kernel = bench::kernel("call-intake", Arc::new(store.clone()), log, keys);
        Station { folder, store, kernel }
    }
    /// As after a crash: nothing is closed, and the process has another name.
    async fn again(self) -> Self {
        Self::in_folder(self.folder).await
    }
    async fn append(&self, unit: Unit) {
        assert!(matches!(self.store.append(unit).await.unwrap(), Answer::Committed { .. }));
    }
}

mod timing {
    use super::*;

    /// Writes down what fired; fails for the names it is told to.
    #[derive(Default)]
    struct Bell {
        fired: Mutex<Vec<(StreamId, String, i64)>>,
        failing: Mutex<HashSet<String>>,
        tried: AtomicU32,
    }

    #[async_trait]
    impl OnTimer for Bell {
        async fn due(&self, timer: &Due, _now: i64) -> Result<Unit, NotNow> {
            self.tried.fetch_add(1, Ordering::SeqCst);
            if self.failing.lock().unwrap().contains(&timer.name) {
                return Err(NotNow::Other("not now".to_owned()));
            }
            self.fired.lock().unwrap().push((timer.stream, timer.name.clone(), timer.due_at));
            Ok(Unit::default())
        }
    }

    impl Bell {
        fn names(&self) -> Vec<String> {
            self.fired.lock().unwrap().iter().map(|(_, name, _)| name.clone()).collect()
        }
    }

    fn set(stream: StreamId, name: &'static str, due_at: i64) -> Unit {
        Unit { timers: vec![TimerChange::Set { stream, name, due_at, payload: Bytes::new() }], ..Unit::default() }
    }

    #[tokio::test]
    async fn a_timer_fires_once_when_it_is_due_and_not_before() {
        let station = Station::new().await;
        let (bell, s, mut late) = (Bell::default(), stream(), HashMap::new());
        station.append(set(s, "reminder", 100)).await;
        assert_eq!(timers::step(&station.kernel, &bell, 99, &mut late).await.unwrap(), 100);
        assert!(bell.names().is_empty());
        timers::step(&station.kernel, &bell, 100, &mut late).await.unwrap();
        timers::step(&station.kernel, &bell, 200, &mut late).await.unwrap();
        assert_eq!(bell.names(), ["reminder"]);
    }

    #[tokio::test]
    async fn late_timers_fire_once_and_in_order_after_a_restart() {
        let station = Station::new().await;
        let s = stream();
        for (name, due_at) in [("third", 30), ("first", 10), ("second", 20), ("cancelled", 15)] {
            station.append(set(s, name, due_at)).await;
        }
        station.append(Unit { timers: vec![TimerChange::Cancel { stream: s, name: "cancelled" }], ..Unit::default() }).await;
        let station = station.again().await;
        let bell = Arc::new(Bell::default());
        let stop = CancellationToken::new();
        let running = tokio::spawn(timers::run(station.kernel.clone(), bell.clone(), stop.clone()));
        until("all fired", async || (bell.names().len() == 3).then_some(())).await;
        // A new one wakes the worker, who looks by himself as well, but seldom.
        let mut quickest = Duration::MAX;
        for n in 4..=6 {
            let begun = Instant::now();
            station.append(set(s, "later", 40)).await;
            until("the new one fired", async || (bell.names().len() == n).then_some(())).await;
            quickest = quickest.min(begun.elapsed());
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(bell.names(), ["first", "second", "third", "later", "later", "later"]);
        assert!(quickest < WOKEN_WITHIN, "it was not woken");
    }

    #[tokio::test]
    async fn many_late_timers_all_fire() {
        let station = Station::new().await;
        for _ in 0..7 {
            let timers = (0..100).map(|_| TimerChange::Set { stream: stream(), name: "t", due_at: 1, payload: Bytes::new() }).collect();
            station.append(Unit { timers, ..Unit::default() }).await;
        }
        let (bell, mut late) = (Bell::default(), HashMap::new());
        while timers::step(&station.kernel, &bell, 1_000, &mut late).await.unwrap() <= 1_000 {}
        assert_eq!(bell.names().len(), 700);
        assert_eq!(bell.fired.lock().unwrap().iter().map(|f| f.0).collect::<HashSet<_>>().len(), 700);
    }

    #[tokio::test]
    async fn a_timer_that_fails_is_tried_again_and_those_behind_it_wait() {
        let station = Station::new().await;
        let (bell, s, mut late) = (Bell::default(), stream(), HashMap::new());
        let other = stream();
        station.append(set(s, "failing", 10)).await;
        station.append(set(s, "behind", 20)).await;
        station.append(set(other, "elsewhere", 30)).await;
        bell.failing.lock().unwrap().insert("failing".to_owned());
        let next = timers::step(&station.kernel, &bell, 100, &mut late).await.unwrap();
        assert!(next > 100);
        assert_eq!(bell.names(), ["elsewhere"]);
        let tried = bell.tried.load(Ordering::SeqCst);
        timers::step(&station.kernel, &bell, 101, &mut late).await.unwrap();
        assert_eq!(bell.tried.load(Ordering::SeqCst), tried, "not before its time");
        bell.failing.lock().unwrap().clear();
        timers::step(&station.kernel, &bell, next, &mut late).await.unwrap();
        assert_eq!(bell.names(), ["elsewhere", "failing", "behind"]);
    }

    #[tokio::test]
    async fn a_failed_timer_that_is_cancelled_is_forgotten() {
        let station = Station::new().await;
        let (bell, s, mut late) = (Bell::default(), stream(), HashMap::new());
        bell.failing.lock().unwrap().insert("t".to_owned());
        station.append(set(s, "t", 10)).await;
        timers::step(&station.kernel, &bell, 100, &mut late).await.unwrap();
        station.append(Unit { timers: vec![TimerChange::Cancel { stream: s, name: "t" }], ..Unit::default() }).await;
        let now = 1_000_000_000;
        assert!(timers::step(&station.kernel, &bell, now, &mut late).await.unwrap() > now, "the worker would spin");
        assert!(late.is_empty());
    }

    /// Sets its timer anew while it fires, as a request of a user might.
    struct Meddled(SqliteStore, StreamId);

    #[async_trait]
    impl OnTimer for Meddled {
        async fn due(&self, timer: &Due, _now: i64) -> Result<Unit, NotNow> {
            self.0.append(set(self.1, "t", timer.due_at + 1_000)).await?;
            Ok(bench::unit(stream(), 0, 1))
        }
    }

    #[tokio::test]
    async fn a_timer_set_anew_meanwhile_does_not_fire_as_it_was() {
        let station = Station::new().await;
        let s = stream();
        station.append(set(s, "t", 10)).await;
        timers::step(&station.kernel, &Meddled(station.store.clone(), s), 100, &mut HashMap::new()).await.unwrap();
        assert!(station.store.read_all(0, 10).await.unwrap().is_empty(), "its unit was not written");
        assert_eq!(station.store.query("select due_at from timers", &[]).await.unwrap()[0].int(0), 1_010);
    }
}

mod delivering {
    use super::*;

    type Script<T> = Mutex<Vec<T>>;

    /// A receiver and its courier, scripted; what is not scripted succeeds.
    #[derive(Default)]
    struct Post {
        guards: Script<Guard>,
        answers: Script<Sent>,
        found: Script<Found>,
        sent: Mutex<Vec<([u8; 16], u32)>>,
        settled: Mutex<Vec<DeliveryState>>,
        /// The row as the receiver's first byte finds it.
        states_at_send: Mutex<Vec<(DeliveryState, u32, bool)>>,
        store: Mutex<Option<SqliteStore>>,
        attended: bool,
        outcomes: Mutex<u64>,
        stream: Mutex<Option<StreamId>>,
    }

    fn scripted<T>(script: &Script<T>, usual: T) -> T {
        let mut script = script.lock().unwrap();
        if script.is_empty() { usual } else { script.remove(0) }
    }

    #[async_trait]
    impl Courier for Post {
        fn kind(&self) -> &'static str {
            "letter"
        }
        fn attended(&self) -> bool {
            self.attended
        }
        async fn guard(&self, _: &Delivery, _: i64) -> Result<Guard, NotNow> {
            Ok(scripted(&self.guards, Guard::Send))
        }
        async fn send(&self, delivery: &Delivery) -> Result<Sent, NotNow> {
            let store = self.store.lock().unwrap().clone();
            if let Some(store) = store {
                let row = read(&store, delivery.id).await;
                self.states_at_send.lock().unwrap().push((row.state, row.attempt, row.deadline_at.is_some() && row.sender.is_some()));
            }
            self.sent.lock().unwrap().push((delivery.id, delivery.attempt));
            Ok(scripted(&self.answers, Sent::Confirmed { reference: "R1".to_owned() }))
        }
        async fn search(&self, _: &Delivery) -> Result<Found, NotNow> {
            Ok(scripted(&self.found, Found::CannotAsk))
        }
        async fn settled(&self, _: &Delivery, to: DeliveryState, _: Option<&str>, _: Option<&str>, _: i64) -> Result<Unit, NotNow> {
            self.settled.lock().unwrap().push(to);
            // Its outcome is an event on some stream.
            let (stream, version) = (*self.stream.lock().unwrap(), *self.outcomes.lock().unwrap());
            Ok(match stream {
                Some(stream) => bench::unit(stream, version, 1),
                None => Unit::default(),
            })
        }
    }

    fn new(destination: &str, subject: StreamId) -> NewDelivery {
        NewDelivery {
            id: id(),
            kind: "letter",
            destination: destination.to_owned(),
            subject,
            stream: subject,
            payload: Bytes::new(),
            state: DeliveryState::Due,
            sender: None,
            deadline_at: None,
            next_at: 0,
            expires_at: None,
            traceparent: None,
            created_at: 0,
        }
    }

    fn insert(delivery: &NewDelivery) -> Unit {
        Unit { deliveries: vec![DeliveryChange::Insert(delivery.clone())], ..Unit::default() }
    }

    async fn read(store: &SqliteStore, id: [u8; 16]) -> Delivery {
        hearthline_eventing::deliveries(store, "id = $1", &[id.into()]).await.unwrap().remove(0)
    }

    /// One look at what is open, by a process that is alone with its store.
    async fn look(station: &Station, post: &Arc<Post>, now: i64) -> i64 {
        deliveries::step(&station.kernel, &[post.clone() as Arc<dyn Courier>], true, now).await.unwrap()
    }

    /// Makes a row `sending` of a process that died with it.
    async fn sending_of_a_dead_sender(station: &Station, delivery: &NewDelivery) {
        station.append(insert(&NewDelivery { state: DeliveryState::Sending, sender: Some([9; 16]), deadline_at: Some(i64::MAX), ..delivery.clone() })).await;
    }

    const NOW: i64 = 1_000_000_000;

    #[tokio::test]
    async fn sending_is_durable_before_the_first_byte() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        *post.store.lock().unwrap() = Some(station.store.clone());
        let letter = new("gp", stream());
        station.append(insert(&letter)).await;
        look(&station, &post, NOW).await;
        assert_eq!(*post.states_at_send.lock().unwrap(), [(DeliveryState::Sending, 1, true)]);
        let row = read(&station.store, letter.id).await;
        assert_eq!((row.state, row.reference.as_deref(), row.attempt), (DeliveryState::Confirmed, Some("R1"), 1));
        look(&station, &post, NOW + 1).await;
        assert_eq!(post.sent.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_a_recovery_left_is_said_and_then_looked_for_and_never_sent_by_itself() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let s = stream();
        let letters = [new("gp", s), new("gp", s)];
        for letter in &letters {
            station.append(insert(letter)).await;
            let moved = DeliveryMove {
                id: letter.id,
                from: DeliveryState::Due,
                from_attempt: 0,
                to: DeliveryState::Unconfirmed,
                attempt: 0,
                sender: None,
                deadline_at: None,
                next_at: NOW,
                code: Some(deliveries::RECOVERED.to_owned()),
                reference: None,
                at: NOW,
            };
            station.append(Unit { deliveries: vec![DeliveryChange::Move(moved)], ..Unit::default() }).await;
        }
        look(&station, &post, NOW).await;
        assert_eq!(*post.settled.lock().unwrap(), [DeliveryState::Unconfirmed; 2], "what it means is recorded, for each");
        *post.found.lock().unwrap() = vec![Found::There { reference: "R2".to_owned() }];
        look(&station, &post, NOW + 60_000_000).await;
        assert_eq!(read(&station.store, letters[0].id).await.state, DeliveryState::Confirmed);
        look(&station, &post, NOW + 120_000_000).await;
        let second = read(&station.store, letters[1].id).await;
        assert_eq!((second.state, second.code.as_deref()), (DeliveryState::Unconfirmed, Some("awaiting_person")));
        assert!(post.sent.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn deliveries_of_one_destination_and_subject_keep_their_order() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let (s, t) = (stream(), stream());
        let letters = [new("gp", s), new("gp", s), new("home", s), new("gp", t)];
        for letter in &letters {
            station.append(insert(letter)).await;
        }
        post.answers.lock().unwrap().extend((0..3).map(|_| Sent::Retry { code: "busy".to_owned() }));
        look(&station, &post, NOW).await;
        let first: HashSet<[u8; 16]> = post.sent.lock().unwrap().iter().map(|s| s.0).collect();
        assert_eq!(first, HashSet::from([letters[0].id, letters[2].id, letters[3].id]), "the second waits behind the first, the others do not");
        let mut now = hearthline_eventing::now_us();
        while read(&station.store, letters[1].id).await.state != DeliveryState::Confirmed {
            now += 400_000_000;
            look(&station, &post, now).await;
        }
        let order: Vec<[u8; 16]> = post.sent.lock().unwrap().iter().map(|s| s.0).filter(|id| *id == letters[0].id || *id == letters[1].id).collect();
        assert_eq!(order, [letters[0].id, letters[0].id, letters[1].id]);
    }

    #[tokio::test]
    async fn what_was_not_taken_is_sent_again_later_and_later() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let letter = new("gp", stream());
        station.append(insert(&letter)).await;
        post.answers.lock().unwrap().extend((0..4).map(|_| Sent::Retry { code: "busy".to_owned() }));
        let (mut now, mut waits) = (hearthline_eventing::now_us(), Vec::new());
        for attempt in 1..=4 {
            look(&station, &post, now).await;
            let row = read(&station.store, letter.id).await;
            assert_eq!((row.state, row.attempt, row.code.as_deref()), (DeliveryState::RetryAt, attempt, Some("busy")));
            waits.push(row.next_at - row.updated_at);
            assert_eq!(look(&station, &post, row.next_at - 1).await, row.next_at, "not before");
            now = row.next_at;
        }
        assert!(waits.windows(2).all(|w| w[1] > w[0]), "{waits:?}");
        look(&station, &post, now).await;
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Confirmed);
        assert_eq!(post.sent.lock().unwrap().iter().map(|s| s.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_guard_lets_wait_or_drop_and_time_runs_out() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let [waits, dropped, expires] = [stream(), stream(), stream()].map(|s| new("gp", s));
        station.append(insert(&waits)).await;
        *post.guards.lock().unwrap() = vec![Guard::Wait { why: "awaits_identity" }];
        look(&station, &post, NOW).await;
        let row = read(&station.store, waits.id).await;
        assert_eq!((row.state, row.code.as_deref(), row.attempt), (DeliveryState::Due, Some("awaits_identity"), 0));
        look(&station, &post, row.next_at).await;
        assert_eq!(read(&station.store, waits.id).await.state, DeliveryState::Confirmed);
        station.append(insert(&dropped)).await;
        *post.guards.lock().unwrap() = vec![Guard::Drop { code: "superseded" }];
        look(&station, &post, NOW).await;
        let row = read(&station.store, dropped.id).await;
        assert_eq!((row.state, row.code.as_deref()), (DeliveryState::Expired, Some("superseded")));
        station.append(insert(&NewDelivery { expires_at: Some(NOW), ..expires.clone() })).await;
        look(&station, &post, NOW).await;
        assert_eq!(read(&station.store, expires.id).await.state, DeliveryState::Expired);
        assert_eq!(post.sent.lock().unwrap().len(), 1);
        assert_eq!(*post.settled.lock().unwrap(), [DeliveryState::Confirmed, DeliveryState::Expired, DeliveryState::Expired]);
    }

    #[tokio::test]
    async fn a_delivery_of_a_dead_sender_is_unconfirmed_and_never_sent_again_by_itself() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let letter = new("gp", stream());
        sending_of_a_dead_sender(&station, &letter).await;
        for round in 0..5 {
            look(&station, &post, NOW + round * 7_200_000_000).await;
        }
        let row = read(&station.store, letter.id).await;
        assert_eq!((row.state, row.attempt), (DeliveryState::Unconfirmed, 1));
        assert!(post.sent.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn another_living_process_has_until_its_deadline() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let letter = new("gp", stream());
        station.append(insert(&NewDelivery { state: DeliveryState::Sending, sender: Some([9; 16]), deadline_at: Some(NOW), ..letter.clone() })).await;
        let look = async |now| deliveries::step(&station.kernel, &[post.clone() as Arc<dyn Courier>], false, now).await.unwrap();
        assert_eq!(look(NOW - 1).await, NOW);
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Sending);
        look(NOW).await;
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Unconfirmed);
    }

    #[tokio::test]
    async fn a_search_says_what_became_of_it() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let (there, not_there) = (new("gp", stream()), new("gp", stream()));
        for (letter, found) in [(&there, Found::There { reference: "R9".to_owned() }), (&not_there, Found::NotThere)] {
            sending_of_a_dead_sender(&station, letter).await;
            look(&station, &post, NOW).await;
            *post.found.lock().unwrap() = vec![found];
            look(&station, &post, NOW).await;
        }
        let row = read(&station.store, there.id).await;
        assert_eq!((row.state, row.reference.as_deref()), (DeliveryState::Confirmed, Some("R9")));
        look(&station, &post, NOW).await;
        let row = read(&station.store, not_there.id).await;
        assert_eq!((row.state, row.attempt), (DeliveryState::Confirmed, 2));
        assert_eq!(*post.sent.lock().unwrap(), [(not_there.id, 2)]);
    }

    #[tokio::test]
    async fn a_late_answer_still_counts_for_its_attempt() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let confirmed = || Sent::Confirmed { reference: "late".to_owned() };
        let sending = |d: &NewDelivery, attempt| Delivery { state: DeliveryState::Sending, attempt, ..read_new(d) };
        // Found unconfirmed meanwhile, or due again.
        for searched in [false, true] {
            let letter = new("gp", stream());
            sending_of_a_dead_sender(&station, &letter).await;
            look(&station, &post, NOW).await;
            if searched {
                *post.found.lock().unwrap() = vec![Found::NotThere];
                look(&station, &post, NOW).await;
                assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Due);
            }
            assert!(deliveries::record(&station.kernel, post.as_ref(), &sending(&letter, 1), confirmed(), NOW).await.unwrap());
            assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Confirmed);
        }
        // Of an attempt that is over.
        let letter = new("gp", stream());
        sending_of_a_dead_sender(&station, &letter).await;
        assert!(!deliveries::record(&station.kernel, post.as_ref(), &sending(&letter, 0), confirmed(), NOW).await.unwrap());
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Sending);
    }

    fn read_new(d: &NewDelivery) -> Delivery {
        Delivery {
            id: d.id,
            seq: 0,
            kind: d.kind.to_owned(),
            destination: d.destination.clone(),
            subject: d.subject,
            stream: d.stream,
            payload: d.payload.clone(),
            state: d.state,
            attempt: 0,
            sender: d.sender,
            deadline_at: None,
            next_at: 0,
            expires_at: None,
            code: None,
            reference: None,
            traceparent: None,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[tokio::test]
    async fn a_person_confirms_or_resends_what_is_unconfirmed_and_nothing_else() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let couriers = [post.clone() as Arc<dyn Courier>];
        let (one, two, fresh) = (new("gp", stream()), new("gp", stream()), new("gp", stream()));
        for letter in [&one, &two] {
            sending_of_a_dead_sender(&station, letter).await;
        }
        assert_eq!(deliveries::confirm(&station.kernel, &couriers, one.id, "phone", NOW).await.unwrap(), Settled::NotUnconfirmed(DeliveryState::Sending));
        look(&station, &post, NOW).await;
        assert_eq!(deliveries::confirm(&station.kernel, &couriers, one.id, "phone", NOW).await.unwrap(), Settled::Done);
        assert_eq!(deliveries::resend(&station.kernel, &couriers, two.id, NOW).await.unwrap(), Settled::Done);
        station.append(insert(&fresh)).await;
        assert_eq!(deliveries::resend(&station.kernel, &couriers, fresh.id, NOW).await.unwrap(), Settled::NotUnconfirmed(DeliveryState::Due));
        assert_eq!(deliveries::resend(&station.kernel, &couriers, id(), NOW).await.unwrap(), Settled::NotFound);
        look(&station, &post, NOW).await;
        let (one, two) = (read(&station.store, one.id).await, read(&station.store, two.id).await);
        assert_eq!((one.state, one.reference.as_deref()), (DeliveryState::Confirmed, Some("phone")));
        assert_eq!((two.state, two.attempt), (DeliveryState::Confirmed, 2));
    }

    #[tokio::test]
    async fn an_attended_delivery_is_never_sent_by_the_worker() {
        let station = Station::new().await;
        let post = Arc::new(Post { attended: true, ..Post::default() });
        let couriers = [post.clone() as Arc<dyn Courier>];
        let (due, gone) = (new("eps", stream()), new("eps", stream()));
        station.append(insert(&due)).await;
        sending_of_a_dead_sender(&station, &gone).await;
        look(&station, &post, NOW).await;
        look(&station, &post, NOW + 1).await;
        assert!(post.sent.lock().unwrap().is_empty());
        assert_eq!(read(&station.store, gone.id).await.state, DeliveryState::Unconfirmed);
        assert_eq!(deliveries::resend(&station.kernel, &couriers, gone.id, NOW).await.unwrap(), Settled::Attended);
    }

    #[tokio::test]
    async fn an_outcome_and_its_events_are_one_commit() {
        let station = Station::new().await;
        let s = stream();
        let post = Arc::new(Post::default());
        *post.stream.lock().unwrap() = Some(s);
        // The stream stands elsewhere than the courier thinks: neither the event nor the state is written.
        *post.outcomes.lock().unwrap() = 7;
        let letter = new("gp", s);
        sending_of_a_dead_sender(&station, &letter).await;
        look(&station, &post, NOW).await;
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Sending);
        *post.outcomes.lock().unwrap() = 0;
        look(&station, &post, NOW).await;
        assert_eq!(read(&station.store, letter.id).await.state, DeliveryState::Unconfirmed);
        assert_eq!(station.store.read_stream(s, 0).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_worker_wakes_for_a_new_delivery() {
        let station = Station::new().await;
        let post = Arc::new(Post::default());
        let stop = CancellationToken::new();
        let running = tokio::spawn(deliveries::run(station.kernel.clone(), vec![post.clone()], true, stop.clone()));
        let mut quickest = Duration::MAX;
        for n in 0..4 {
            let letter = new("gp", stream());
            let begun = Instant::now();
            station.append(insert(&letter)).await;
            until("it is confirmed", async || (read(&station.store, letter.id).await.state == DeliveryState::Confirmed).then_some(())).await;
            // The first may come when the worker looks by himself.
            quickest = quickest.min(if n == 0 { Duration::MAX } else { begun.elapsed() });
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(quickest < WOKEN_WITHIN, "it was not woken");
    }
}
