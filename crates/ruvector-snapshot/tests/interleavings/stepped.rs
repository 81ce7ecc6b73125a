//! A store in which every call of every actor is a step that waits for its turn, and the turns. Knows no verb.
//!
//! What nobody can see, as the pieces of an upload, is no step. A listing is two steps, and what comes or goes between
//! them is in it or not as chance has it, as the contract of a store allows.
//!
//! That days pass is a step, too. What others have asked the store for before takes effect first, as requests do not take
//! days; what they ask for later is asked by somebody who could look at a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::{IsOurs, ObjectInfo, SnapshotStore, Upload};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};
use tokio::sync::{Notify, oneshot};

use crate::time::Time;

/// Whose turn it is, and what was done so far.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
    time: Arc<Time>,
    /// What the listings see of what changes under them.
    seed: u64,
}

/// How the step is called in which days pass.
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

impl Turns {
    pub(crate) fn of(actors: usize, time: Arc<Time>, seed: u64) -> Arc<Self> {
        let actors = (0..actors).map(|_| Actor::default()).collect();
        let state = Mutex::new(State { actors, ..State::default() });
        Arc::new(Self { state, changed: Notify::new(), time, seed })
    }

    /// Lets an actor take its next step, and waits for the end of it; false where the actor has ended instead.
    pub(crate) async fn step(&self, actor: usize) -> bool {
        if self.is_next(actor, DAYS_PASS).await {
            let others = self.lock().actors.len();
            self.time.pass_for_clocks();
            for other in (0..others).filter(|other| *other != actor) {
                if self.is_next(other, "").await {
                    let waiting = self.lock().actors[other].waiting.len();
                    for _ in 0..waiting {
                        self.take_step(other).await;
                    }
                }
            }
            self.time.pass_for_stores();
        }
        self.take_step(actor).await
    }

    /// Waits until it is known what an actor does next, and says whether that contains a text; false where it has ended.
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

    async fn take_step(&self, actor: usize) -> bool {
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
            let was_begun = self.lock().is_busy;
            while self.lock().is_busy {
                self.changed.notified().await;
            }
            if was_begun {
                return true;
            }
            self.changed.notified().await;
        }
    }

    /// From now on no call of an actor has an effect, as if its process had been killed.
    pub(crate) fn crash(&self, actor: usize) {
        let mut state = self.lock();
        state.log.push(format!("{actor} crashes"));
        state.actors[actor].has_crashed = true;
        // Those who wait learn of it.
        state.actors[actor].waiting.clear();
    }

    /// An actor has no more steps to take.
    pub(crate) fn end(&self, actor: usize) {
        self.lock().actors[actor].has_ended = true;
        self.changed.notify_one();
    }

    /// The schedule so far, a line a step.
    pub(crate) fn log(&self) -> String {
        self.lock().log.join("\n")
    }

    /// Days pass, once it is the turn of this actor.
    pub(crate) async fn let_days_pass(&self, actor: usize) -> Result<()> {
        self.take(actor, DAYS_PASS, "").await.map(drop)
    }

    /// Waits for the turn of an actor to do something of its own.
    pub(crate) async fn take(&self, actor: usize, call: &str, key: &str) -> Result<Turn<'_>> {
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
        Ok(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A step that is being taken.
pub(crate) struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_busy = false;
        self.0.changed.notify_one();
    }
}

/// The store as one actor has it.
pub(crate) struct Stepped {
    inner: Arc<dyn SnapshotStore>,
    turns: Arc<Turns>,
    actor: usize,
}

impl Stepped {
    pub(crate) fn over(inner: Arc<dyn SnapshotStore>, turns: Arc<Turns>, actor: usize) -> Arc<dyn SnapshotStore> {
        Arc::new(Self { inner, turns, actor })
    }

    async fn turn(&self, call: &str, key: &str) -> Result<Turn<'_>> {
        self.turns.take(self.actor, call, key).await
    }

    async fn listing(&self, call: &str, prefix: &str) -> Result<BTreeMap<String, ObjectInfo>> {
        let _turn = self.turn(call, prefix).await?;
        self.inner.list(prefix).map_ok(|object| (object.key.clone(), object)).try_collect().await
    }

    async fn list_slowly(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut first = self.listing("begins to list", prefix).await?;
        let mut last = self.listing("ends to list", prefix).await?;
        let keys: BTreeSet<String> = first.keys().chain(last.keys()).cloned().collect();
        let seen = keys.into_iter().enumerate().filter_map(|(number, key)| {
            let mut hash = DefaultHasher::new();
            (self.turns.seed, number).hash(&mut hash);
            if hash.finish().is_multiple_of(2) { first.remove(&key) } else { last.remove(&key) }
        });
        Ok(seen.collect())
    }
}

#[async_trait]
impl SnapshotStore for Stepped {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let _turn = self.turn("create", key).await?;
        self.inner.create(key, bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(SteppedUpload { inner, turns: self.turns.clone(), actor: self.actor, key: key.to_owned() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let _turn = self.turn("get", key).await?;
        self.inner.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let _turn = self.turn("get_range", key).await?;
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let _turn = self.turn("head", key).await?;
        self.inner.head(key).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let prefix = prefix.to_owned();
        let objects = async move {
            match self.list_slowly(&prefix).await {
                Ok(objects) => objects.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        stream::once(objects).flat_map(stream::iter).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let _turn = self.turn("delete", key).await?;
        self.inner.delete(key).await
    }

    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        let _turn = self.turn("sweep", "").await?;
        self.inner.sweep(is_ours, before, remove).await
    }
}

impl fmt::Display for Stepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for Stepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stepped({:?})", self.inner)
    }
}

struct SteppedUpload {
    inner: Box<dyn Upload>,
    turns: Arc<Turns>,
    actor: usize,
    key: String,
}

#[async_trait]
impl Upload for SteppedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { inner, turns, actor, key } = *self;
        let _turn = turns.take(actor, "finish", &key).await?;
        inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
