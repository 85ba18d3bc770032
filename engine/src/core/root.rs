//! Which fragments are one person: the parent pointers of the unions.
//!
//! A union hangs the root of fewer fragments under the other, so a path has at most log2 n steps. No path
//! is ever shortened: rows would change that nothing happened to.

use super::apply::missing;
use super::rows::{FragmentRow, ListKey, ListKind};
use super::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo};
use std::sync::Arc;

/// The row of a fragment that must be there.
///
/// # Errors
/// [`Error`] if it could not be read.
pub fn fragment_row<V: View>(view: &V, fragment: FragmentNo) -> Result<Arc<FragmentRow>, Error> {
    view.fragments(&fragment)?.ok_or_else(|| missing("fragment"))
}

/// The root of a fragment: itself, unless it was joined to another.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn root_of<V: View>(view: &V, fragment: FragmentNo) -> Result<FragmentNo, Error> {
    let mut at = fragment;
    while let Some((parent, _)) = fragment_row(view, at)?.parent {
        at = parent;
    }
    Ok(at)
}

/// All fragments of a root, oldest first. Costs what there are.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn members_of<V: View>(view: &V, root: FragmentNo) -> Result<Vec<FragmentNo>, Error> {
    let mut members = some_members_of(view, root, usize::MAX)?;
    members.sort_unstable();
    Ok(members)
}

/// Fragments of a root, the root among them, at most `max` and in no order. Costs no more than `max` asks for.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn some_members_of<V: View>(view: &V, root: FragmentNo, max: usize) -> Result<Vec<FragmentNo>, Error> {
    let mut members = vec![root];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        next += 1;
        if members.len() >= max {
            break;
        }
        for child in view.list(ListKey { kind: ListKind::Children, of: parent.0 }, max)? {
            // It may have been hung elsewhere since.
            let child = FragmentNo(child);
            if fragment_row(view, child)?.parent.is_some_and(|(of, _)| of == parent) {
                members.push(child);
            }
        }
    }
    members.truncate(max);
    Ok(members)
}

/// The oldest fragment of a root: the one whose id is the person's.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn oldest_of<V: View>(view: &V, root: FragmentNo) -> Result<FragmentNo, Error> {
    Ok(view.persons(&root)?.map_or(root, |person| person.oldest))
}

/// Position of the union that joined two fragments of one person: the latest on the way between them.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn joined_at<V: View>(view: &V, one: FragmentNo, other: FragmentNo) -> Result<EventSeq, Error> {
    let (left, right) = (path_of(view, one)?, path_of(view, other)?);
    let mut latest = EventSeq(0);
    for path in [(&left, &right), (&right, &left)] {
        for (fragment, joined) in path.0 {
            if path.1.iter().any(|(met, _)| met == fragment) {
                break;
            }
            latest = latest.max(*joined);
        }
    }
    Ok(latest)
}

/// The fragments on the way to the root, each with the position of the union that it then passed.
fn path_of<V: View>(view: &V, fragment: FragmentNo) -> Result<Vec<(FragmentNo, EventSeq)>, Error> {
    let mut path = Vec::new();
    let mut at = fragment;
    while let Some((parent, joined)) = fragment_row(view, at)?.parent {
        path.push((at, joined));
        at = parent;
    }
    path.push((at, EventSeq(0)));
    Ok(path)
}
