//! Decides which actor takes the next step. Every call of an actor to its store is a step that waits for its turn.
//! Knows no verb.
//!
//! The pieces of an upload are not steps, because nobody can see them. A listing is two steps. If an object appears or
//! disappears between them, the seed decides whether the listing contains it, as the contract of a store allows.
//!
//! Days pass in a step too. Requests that other actors have sent before it take effect first, because a request does
//! not take days. Requests that they send later come from an actor that could have read the clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};
use test_fixtures::{ForwardingStore, Method, StoreHooks};
use tokio::sync::{Notify, oneshot};

use crate::simulated_time::SimulatedTime;

/// Lets one actor at a time take a step, and logs the steps.
#[derive(Debug)]
pub(crate) struct StepScheduler {
    state: Mutex<State>,
    changed: Notify,
    time: Arc<SimulatedTime>,
    /// Decides what a listing sees of concurrent changes.
    seed: u64,
}

/// The label of the step in which days pass.
const DAYS_PASS: &str = "lets days pass";

#[derive(Debug, Default)]
struct State {
    actors: Vec<Actor>,
    is_busy: bool,
    log: Vec<String>,
}

#[derive(Debug, Default)]
struct Actor {
    waiting: VecDeque<(String, oneshot::Sender<()>)>,
    has_ended: bool,
    has_crashed: bool,
}

impl StepScheduler {
    pub(crate) fn new(actors: usize, time: Arc<SimulatedTime>, seed: u64) -> Arc<Self> {
        let actors = (0..actors).map(|_| Actor::default()).collect();
        let state = Mutex::new(State { actors, ..State::default() });
        Arc::new(Self { state, changed: Notify::new(), time, seed })
    }

    /// Returns the store as an actor sees it.
    pub(crate) fn store_of(self: &Arc<Self>, actor: usize, inner: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        ForwardingStore::new(inner, StepHooks { scheduler: self.clone(), actor })
    }

    /// Lets an actor take its next step and waits until the step is done. Returns false if the actor has ended.
    pub(crate) async fn step(&self, actor: usize) -> bool {
        if self.is_next(actor, DAYS_PASS).await {
            let actors = self.lock().actors.len();
            self.time.pass_days_for_clocks();
            for other in (0..actors).filter(|other| *other != actor) {
                if self.is_next(other, "").await {
                    let waiting = self.lock().actors[other].waiting.len();
                    for _ in 0..waiting {
                        self.run_step(other).await;
                    }
                }
            }
            self.time.pass_days_for_stores();
        }
        self.run_step(actor).await
    }

    /// Waits until the next step of an actor is known, and returns whether its label contains `text`. Returns false if
    /// the actor has ended.
    async fn is_next(&self, actor: usize, text: &str) -> bool {
        loop {
            {
                let state = self.lock();
                let actor = &state.actors[actor];
                let mut waiting = actor.waiting.iter().filter(|(_, turn)| !turn.is_closed());
                if let Some((label, _)) = waiting.next() {
                    return label.contains(text);
                }
                if actor.has_ended {
                    return false;
                }
            }
            self.changed.notified().await;
        }
    }

    async fn run_step(&self, actor: usize) -> bool {
        loop {
            {
                let mut state = self.lock();
                // A call that was dropped while it waited takes no step.
                while let Some((label, turn)) = state.actors[actor].waiting.pop_front() {
                    state.is_busy = turn.send(()).is_ok();
                    if state.is_busy {
                        state.log.push(label);
                        break;
                    }
                }
                if !state.is_busy && state.actors[actor].has_ended {
                    return false;
                }
            }
            let has_begun = self.lock().is_busy;
            while self.lock().is_busy {
                self.changed.notified().await;
            }
            if has_begun {
                return true;
            }
            self.changed.notified().await;
        }
    }

    /// Makes every further call of an actor fail without an effect, as if its process had been killed.
    pub(crate) fn crash(&self, actor: usize) {
        let mut state = self.lock();
        state.log.push(format!("{actor} crashes"));
        state.actors[actor].has_crashed = true;
        // Dropping the senders fails the calls that wait.
        state.actors[actor].waiting.clear();
    }

    /// Records that an actor takes no more steps.
    pub(crate) fn end(&self, actor: usize) {
        self.lock().actors[actor].has_ended = true;
        self.changed.notify_one();
    }

    /// Returns the steps so far, one a line.
    pub(crate) fn log(&self) -> String {
        self.lock().log.join("\n")
    }

    /// Lets days pass when it is the turn of this actor.
    pub(crate) async fn wait_for_days(self: &Arc<Self>, actor: usize) -> Result<()> {
        self.wait_for_turn(actor, DAYS_PASS, "").await.map(drop)
    }

    /// Waits until an actor may take a step that has this label. The step ends when the returned value is dropped.
    pub(crate) async fn wait_for_turn(self: &Arc<Self>, actor: usize, call: &str, key: &str) -> Result<Step> {
        let crashed = || SnapshotError::new(ErrorKind::Unavailable, "the actor has crashed");
        let turn = {
            let mut state = self.lock();
            let actor_state = &mut state.actors[actor];
            if actor_state.has_crashed {
                return Err(crashed());
            }
            let (sender, turn) = oneshot::channel();
            actor_state.waiting.push_back((format!("{actor} {call} {key}"), sender));
            turn
        };
        self.changed.notify_one();
        turn.await.map_err(|_| crashed())?;
        Ok(Step(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A step that is being taken.
#[derive(Debug)]
pub(crate) struct Step(Arc<StepScheduler>);

impl Drop for Step {
    fn drop(&mut self) {
        self.0.lock().is_busy = false;
        self.0.changed.notify_one();
    }
}

/// Makes every call of one actor a step.
struct StepHooks {
    scheduler: Arc<StepScheduler>,
    actor: usize,
}

impl StepHooks {
    async fn list_in_one_step(
        &self,
        inner: &dyn SnapshotStore,
        label: &str,
        prefix: &str,
    ) -> Result<BTreeMap<String, ObjectInfo>> {
        let _step = self.scheduler.wait_for_turn(self.actor, label, prefix).await?;
        inner.list(prefix).map_ok(|object| (object.key.clone(), object)).try_collect().await
    }

    async fn list_in_two_steps(&self, inner: &dyn SnapshotStore, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut first = self.list_in_one_step(inner, "begins to list", prefix).await?;
        let mut last = self.list_in_one_step(inner, "ends to list", prefix).await?;
        let keys: BTreeSet<String> = first.keys().chain(last.keys()).cloned().collect();
        let seen = keys.into_iter().enumerate().filter_map(|(number, key)| {
            let mut hash = DefaultHasher::new();
            (self.scheduler.seed, number).hash(&mut hash);
            if hash.finish().is_multiple_of(2) { first.remove(&key) } else { last.remove(&key) }
        });
        Ok(seen.collect())
    }
}

#[async_trait]
impl StoreHooks for StepHooks {
    type Guard = Step;

    async fn before(&self, method: Method, key: &str) -> Result<Step> {
        self.scheduler.wait_for_turn(self.actor, method.name(), key).await
    }

    fn list<'a>(&'a self, inner: &'a dyn SnapshotStore, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let prefix = prefix.to_owned();
        let objects = async move {
            match self.list_in_two_steps(inner, &prefix).await {
                Ok(objects) => objects.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        stream::once(objects).flat_map(stream::iter).boxed()
    }
}
