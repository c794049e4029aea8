//! What later revisions changed. Everything that is not known to be harmless counts as a change.

use std::collections::BTreeSet;

use crate::domain::pdf::file::{Pdf, Place};
use crate::domain::pdf::object::{Dict, Id, Object};

/// Whether the newer document only adds signatures or validation data to the older one.
pub(crate) fn only_extended(old: &Pdf<'_>, new: &Pdf<'_>) -> bool {
    // The signed revision must still be one of the newer document's own.
    if !new.sections.contains(&old.start) {
        return false;
    }
    if old.trailer.get("Root") != new.trailer.get("Root") {
        return false;
    }
    compare(old, new).unwrap_or(false)
}

fn compare(old: &Pdf<'_>, new: &Pdf<'_>) -> Option<bool> {
    let (root_id, root) = old.root().ok()?;
    let (_, new_root) = new.root().ok()?;
    let form_id = root.get("AcroForm").and_then(Object::reference);
    let lists = lists(old, &root, form_id);
    for (number, place) in &old.places {
        let before = match place {
            Place::At { generation, .. } => *generation,
            Place::InStream { .. } => 0,
            Place::Free => continue,
        };
        if new.places.get(number) == Some(place) && unmoved(old, place) {
            continue;
        }
        let id = (*number, before);
        let (was, is) = (old.load(id).ok()?, new.load(id).ok()?);
        let harmless = was == is
            || (id == root_id && catalog(new, &was, &is))
            || (Some(id) == form_id && form(new, was.dict()?, is.dict()?))
            || page(new, &was, &is)
            || (lists.contains(&id) && grown(new, &was, &is));
        if !harmless || matches!(was, Object::Stream { .. }) && was != is {
            return Some(false);
        }
    }
    Some(new_root.is_name("Type", "Catalog") || new_root.get("Type") == root.get("Type"))
}

/// Whether the bytes at that place are those of the older document.
fn unmoved(old: &Pdf<'_>, place: &Place) -> bool {
    match place {
        Place::At { offset, .. } => *offset < old.bytes.len(),
        Place::InStream { stream, .. } => {
            matches!(old.places.get(stream), Some(Place::At { offset, .. })
                if *offset < old.bytes.len())
        }
        Place::Free => true,
    }
}

/// Indirect arrays that may grow: the form's fields and the annotations of pages.
fn lists(old: &Pdf<'_>, root: &Dict, form_id: Option<Id>) -> BTreeSet<Id> {
    let mut lists = BTreeSet::new();
    let form = form_id
        .and_then(|id| old.load(id).ok())
        .or_else(|| root.get("AcroForm").cloned());
    if let Some(id) = form
        .as_ref()
        .and_then(Object::dict)
        .and_then(|dict| dict.get("Fields"))
    {
        lists.extend(id.reference());
    }
    for (number, place) in &old.places {
        let Place::At { generation, .. } = place else {
            continue;
        };
        if let Ok(Object::Dictionary(dict)) = old.load((*number, *generation))
            && dict.is_name("Type", "Page")
        {
            lists.extend(dict.get("Annots").and_then(Object::reference));
        }
    }
    lists
}

/// Both dictionaries without the keys that a rule looks at on its own.
fn equal_but(was: &Dict, is: &Dict, keys: &[&str]) -> bool {
    let rest = |dict: &Dict| {
        let mut dict = dict.clone();
        keys.iter().for_each(|key| dict.remove(key));
        dict.0.sort_by(|one, other| one.0.cmp(&other.0));
        dict
    };
    rest(was) == rest(is)
}

fn catalog(new: &Pdf<'_>, was: &Object, is: &Object) -> bool {
    let (Object::Dictionary(was), Object::Dictionary(is)) = (was, is) else {
        return false;
    };
    if !equal_but(was, is, &["AcroForm", "Extensions", "DSS"]) {
        return false;
    }
    match (was.get("AcroForm"), is.get("AcroForm")) {
        (old, new) if old == new => true,
        (None, Some(added)) => {
            let empty = Dict::default();
            new.resolve(added)
                .ok()
                .is_some_and(|added| added.dict().is_some_and(|added| form(new, &empty, added)))
        }
        (Some(Object::Dictionary(old)), Some(Object::Dictionary(changed))) => {
            form(new, old, changed)
        }
        _ => false,
    }
}

fn form(new: &Pdf<'_>, was: &Dict, is: &Dict) -> bool {
    let none = Object::Array(Vec::new());
    let fields = |dict: &Dict| dict.get("Fields").cloned().unwrap_or_else(|| none.clone());
    equal_but(was, is, &["Fields", "SigFlags", "NeedAppearances"])
        && is
            .get("SigFlags")
            .is_none_or(|flags| flags.integer() == Some(3))
        && (fields(was) == fields(is) || grown(new, &fields(was), &fields(is)))
}

fn page(new: &Pdf<'_>, was: &Object, is: &Object) -> bool {
    let (Object::Dictionary(was), Object::Dictionary(is)) = (was, is) else {
        return false;
    };
    let none = Object::Array(Vec::new());
    let notes = |dict: &Dict| dict.get("Annots").cloned().unwrap_or_else(|| none.clone());
    was.is_name("Type", "Page")
        && equal_but(was, is, &["Annots"])
        && grown(new, &notes(was), &notes(is))
}

/// Whether an array only got further signature fields that show nothing.
fn grown(new: &Pdf<'_>, was: &Object, is: &Object) -> bool {
    let (Some(was), Some(is)) = (was.array(), is.array()) else {
        return false;
    };
    let Some(added) = is.strip_prefix(was) else {
        return false;
    };
    added.iter().all(|item| {
        let field = new.resolve(item).ok();
        field
            .as_ref()
            .and_then(Object::dict)
            .is_some_and(|field| shows_nothing(new, field))
    })
}

fn shows_nothing(new: &Pdf<'_>, field: &Dict) -> bool {
    let rectangle = new.member(field, "Rect").ok();
    let flat = rectangle
        .as_ref()
        .and_then(Object::array)
        .is_some_and(|sides| {
            sides.len() == 4 && sides.iter().all(|side| side.integer() == Some(0))
        });
    field.is_name("FT", "Sig") && field.get("AP").is_none() && flat
}
