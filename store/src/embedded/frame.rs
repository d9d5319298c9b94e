//! One draft as the journal keeps it.
//!
//! ```text
//! highest session id · floor (0: none) · sessions: id, milliseconds (all ones: ended) · revisions: number, changes
//! change: key · 1, created, value (sealed where it must be) or 0 where the key is gone
//! ```
//!
//! Numbers and lengths are as in [`super::bytes`]; lists come after their lengths. What was there before a change is not
//! written: whoever reads frames in order has it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bytes::{Reader, counted, number};
use super::draft::Draft;
use super::load::{Loaded, Unreadable};
use super::seal::Seal;
use super::tables::milliseconds;
use crate::SessionId;
use crate::history::{Change, Record, Slot};

/// The time to live that stands for the end of a session.
const ENDED: u64 = u64::MAX;

/// Writes a draft down. Errors: something cannot be sealed.
pub fn encode(draft: &Draft, seal: &Seal, out: &mut Vec<u8>) -> io::Result<()> {
    number(out, draft.last_session);
    number(out, draft.floor.unwrap_or(0));
    number(out, draft.sessions.len() as u64);
    for (id, ttl) in &draft.sessions {
        number(out, id.0);
        number(out, ttl.map_or(ENDED, milliseconds));
    }
    number(out, draft.records.len() as u64);
    for record in &draft.records {
        number(out, record.revision);
        number(out, record.changes.len() as u64);
        for change in &record.changes {
            counted(out, change.key.as_bytes());
            out.push(u8::from(change.after.is_some()));
            if let Some(slot) = &change.after {
                number(out, slot.created);
                counted(out, &seal.close(&change.key, slot.modified, &slot.value)?);
            }
        }
    }
    Ok(())
}

/// Makes what a frame says true, and gives it back as a draft. Errors: it does not follow from what there is.
pub fn replay(frame: &[u8], loaded: &mut Loaded, seal: &Seal) -> Result<Draft, Unreadable> {
    let mut reader = Reader(frame);
    let draft = read(&mut reader, loaded, seal)?;
    match draft.filter(|_| reader.0.is_empty()) {
        Some(draft) => Ok(draft),
        None => {
            let revision = loaded.state.history().revision();
            Err(Unreadable::Wrong(format!("its journal contradicts it after revision {revision}")))
        }
    }
}

fn read(reader: &mut Reader<'_>, loaded: &mut Loaded, seal: &Seal) -> Result<Option<Draft>, Unreadable> {
    let (Some(last_session), Some(floor)) = (reader.number(), reader.number()) else { return Ok(None) };
    let mut draft = Draft::new(last_session);
    draft.floor = Some(floor).filter(|floor| *floor > 0);
    if last_session < loaded.last_session || read_sessions(reader, loaded, &mut draft).is_none() {
        return Ok(None);
    }
    loaded.last_session = last_session;
    let Some(records) = reader.number() else { return Ok(None) };
    for _ in 0..records {
        let Some(record) = read_record(reader, loaded, seal)? else { return Ok(None) };
        let record = Arc::new(record);
        loaded.state.apply(record.clone());
        draft.add(record);
    }
    if let Some(floor) = draft.floor {
        if floor > loaded.state.history().revision() {
            return Ok(None);
        }
        loaded.state.history_mut().compact(floor);
    }
    Ok(Some(draft))
}

fn read_sessions(reader: &mut Reader<'_>, loaded: &mut Loaded, draft: &mut Draft) -> Option<()> {
    for _ in 0..reader.number()? {
        let (id, ttl) = (SessionId(reader.number()?), reader.number()?);
        let ttl = (ttl != ENDED).then_some(Duration::from_millis(ttl));
        if id.0 > draft.last_session {
            return None;
        }
        loaded.sessions.retain(|(open, _)| *open != id);
        loaded.sessions.extend(ttl.map(|ttl| (id, ttl)));
        draft.sessions.insert(id, ttl);
    }
    Some(())
}

fn read_record(reader: &mut Reader<'_>, loaded: &mut Loaded, seal: &Seal) -> Result<Option<Record>, Unreadable> {
    let (Some(revision), Some(length)) = (reader.number(), reader.number()) else { return Ok(None) };
    if revision != loaded.state.history().revision() + 1 {
        return Ok(None);
    }
    let mut changes = Vec::new();
    for _ in 0..length {
        let (Some(key), Some(is_there)) = (reader.text(), reader.byte()) else { return Ok(None) };
        let before = loaded.state.current(key).cloned();
        let after = if is_there == 1 {
            let (Some(created), Some(value)) = (reader.number(), reader.counted()) else { return Ok(None) };
            if created != revision && before.as_ref().is_none_or(|slot| slot.created != created) {
                return Ok(None);
            }
            let (value, is_stale) = seal.unclose(key, revision, value)?;
            loaded.is_stale |= is_stale;
            Some(Slot { value, created, modified: revision })
        } else {
            None
        };
        changes.push(Change { key: Arc::from(key), before, after });
    }
    Ok(Some(Record { revision, changes }))
}
