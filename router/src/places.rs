//! Who has the places of a listener: so many connections at a time, and when all are taken, whoever has most gives way.
//!
//! A connection belongs to an address until it is known whose it is. A new one displaces one of the largest holder: the one that has
//! rested longest, or, where [`Places::yielding`] says so, the oldest one at work. So nobody who opens many connections keeps out those
//! who open few, and connections at rest keep out nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    most: usize,
    yields_work: bool,
    /// Counts what happens: the higher, the later.
    moments: AtomicU64,
    taken: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// Whose connections are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    /// An address, of version 6 the network of one site.
    Address(IpAddr),
    Principal(Arc<str>),
}

#[derive(Debug)]
struct Connection {
    /// `None` for one that never gives way.
    holder: Mutex<Option<Holder>>,
    began: u64,
    /// How many requests are answered on it.
    requests: AtomicUsize,
    rests_since: AtomicU64,
    end: CancellationToken,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    connection: Arc<Connection>,
}

/// A request on a connection, until this is dropped. What a connection became by an upgrade keeps its place by this.
#[derive(Debug)]
pub struct Work(Arc<Place>);

impl Places {
    /// Places for so many connections; those with a request never give way.
    pub fn new(most: usize) -> Arc<Self> {
        Self::with(most, false)
    }

    /// Places for so many connections, of which also those with requests give way, if their holder has more than who comes.
    pub fn yielding(most: usize) -> Arc<Self> {
        Self::with(most, true)
    }

    fn with(most: usize, yields_work: bool) -> Arc<Self> {
        Arc::new(Self { most, yields_work, moments: AtomicU64::new(0), taken: Mutex::default() })
    }

    /// A place for a connection; `None` when all are taken and none gives way.
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Option<Arc<Place>> {
        let holder = Holder::Address(site(from));
        let mut taken = self.taken();
        if taken.len() >= self.most {
            let key = self.who_gives_way(&taken, &holder)?;
            if let Some(connection) = taken.remove(&key) {
                connection.end.cancel();
            }
        }
        let began = self.moment();
        let connection = Arc::new(Connection {
            holder: Mutex::new(Some(holder)),
            began,
            requests: AtomicUsize::new(0),
            rests_since: AtomicU64::new(began),
            end: CancellationToken::new(),
        });
        taken.insert(began, Arc::clone(&connection));
        Some(Arc::new(Place { places: Arc::clone(self), connection }))
    }

    /// Of those who hold most, the connection that rests longest; else the oldest at work of somebody who has more than who comes.
    fn who_gives_way(&self, taken: &HashMap<u64, Arc<Connection>>, newcomer: &Holder) -> Option<u64> {
        let mut counts: HashMap<Holder, usize> = HashMap::new();
        let held: Vec<(&Arc<Connection>, Holder)> = taken.values().filter_map(|one| Some((one, one.holder()?))).collect();
        held.iter().for_each(|(_, holder)| *counts.entry(holder.clone()).or_default() += 1);
        let own = counts.get(newcomer).copied().unwrap_or(0);
        let rests = held.iter().filter(|(one, _)| one.requests.load(Relaxed) == 0);
        let by_rest = rests.max_by_key(|(one, holder)| (counts.get(holder).copied(), std::cmp::Reverse(one.rests_since.load(Relaxed))));
        let of_the_largest = || held.iter().max_by_key(|(one, holder)| (counts.get(holder).copied(), std::cmp::Reverse(one.began)));
        let by_work = || of_the_largest().filter(|(_, holder)| self.yields_work && counts.get(holder).copied().unwrap_or(0) > own + 1);
        by_rest.or_else(by_work).map(|(one, _)| one.began)
    }

    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of an address one site may choose at will is left out.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

impl Connection {
    fn holder(&self) -> Option<Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is(&self, holder: Option<Holder>) {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = holder;
    }
}

impl Place {
    /// It is known whose connection it is.
    pub fn belongs_to(&self, principal: &str) {
        self.connection.is(Some(Holder::Principal(principal.into())));
    }

    /// It gives way to nobody.
    pub fn is_exempt(&self) {
        self.connection.is(None);
    }

    /// A request has begun.
    pub fn work(self: &Arc<Self>) -> Work {
        self.connection.requests.fetch_add(1, Relaxed);
        Work(Arc::clone(self))
    }

    /// Waits until the connection has to give way.
    pub async fn given_away(&self) {
        self.connection.end.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(&self.connection.began);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.connection.rests_since.store(self.0.places.moment(), Relaxed);
        self.0.connection.requests.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_over(place: &Arc<Place>) -> bool {
        place.connection.end.is_cancelled()
    }

    #[test]
    fn whoever_holds_most_gives_way_first_where_it_rests_longest() {
        let places = Places::new(4);
        let [other, first, second, third] = [1, 2, 2, 2].map(|last| places.take(at(last)).unwrap());
        drop(first.work());
        let new = places.take(at(3)).unwrap();
        assert_eq!([&other, &first, &second, &third, &new].map(is_over), [false, false, true, false, false]);
        drop(second);
        let _newer = places.take(at(4)).unwrap();
        assert_eq!([&other, &first, &third].map(is_over), [false, false, true], "the first one worked since");
        drop(third);
        assert_eq!(places.taken().len(), 4);
        drop(new);
        assert_eq!(places.taken().len(), 3);
    }

    #[test]
    fn work_gives_way_only_where_that_is_said_and_to_those_who_have_less() {
        for (places, gives) in [(Places::new(3), false), (Places::yielding(3), true)] {
            let held = [1, 1, 2].map(|last| places.take(at(last)).unwrap());
            let _work = held.each_ref().map(Place::work);
            assert!(places.take(at(1)).is_none(), "nobody has more than who comes");
            assert!(places.take(at(2)).is_none());
            let new = places.take(at(3));
            assert_eq!((new.is_some(), held.each_ref().map(is_over)), (gives, [gives, false, false]));
        }
    }

    #[test]
    fn principals_are_counted_apart_and_some_never_give_way() {
        let places = Places::yielding(3);
        let [known, admin, nobody] = [1; 3].map(|last| places.take(at(last)).unwrap());
        known.belongs_to("a");
        admin.is_exempt();
        let new = places.take(at(1)).unwrap();
        assert!(is_over(&nobody) || is_over(&known), "each holds one");
        assert!(!is_over(&admin) && !is_over(&new));
        let other = places.take(at(9)).unwrap();
        other.is_exempt();
        let last = places.take(at(9)).unwrap();
        last.is_exempt();
        assert!(places.take(at(9)).is_none(), "there are only those who never do");
    }

    #[test]
    fn a_site_is_one_holder() {
        let two = ["2001:db8::1", "2001:db8:0:0:ffff::2"].map(|text| site(text.parse().unwrap()));
        assert_eq!(two[0], two[1]);
        assert_ne!(two[0], site("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(site("::ffff:192.0.2.1".parse().unwrap()), at(1));
    }
}
