//! The codec of every call: protobuf, and texts that every store takes.
//!
//! A text may hold the character NUL in protobuf and in SQLite, but not in PostgreSQL. Whether a
//! request is served must not depend on the store, and the answer must name the field: so it is
//! refused here, where the fields' names are known, before any block sees it.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Messages within each other; prost reads no more.
const MAX_DEPTH: usize = 100;

/// Protobuf, as tonic's own codec writes and reads it, without NUL in the texts of requests.
#[derive(Debug, Clone)]
pub struct SoundCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SoundCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SoundCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = SoundDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        SoundDecoder(ProstCodec::<T, U>::default().decoder())
    }
}

/// Reads messages of one kind.
#[derive(Debug, Clone)]
pub struct SoundDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for SoundDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Answers come from our own blocks. Few requests hold a zero at all, and what the rest
        // costs is a look at their bytes.
        let bytes = prost::bytes::Buf::chunk(from);
        if let Some((block, name)) = request::<U>()
            && bytes.contains(&0)
            && let Some(field) = field_with_nul(&name(), bytes)
        {
            return Err(refused(block, field));
        }
        self.0.decode(from)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// The block and the full name of a request's message, from the module that its type is in:
/// with names of its own for each message, the bindings would be half as long again.
fn request<U>() -> Option<(&'static str, impl FnOnce() -> String)> {
    let path = std::any::type_name::<U>();
    let mut parts = path.split("::").skip(1);
    let (block, version, message) = (parts.next()?, parts.next()?, parts.next()?);
    let is_request = message.ends_with("Request") && parts.next().is_none();
    is_request.then_some((block, move || {
        format!("publica.{block}.{version}.{message}")
    }))
}

fn refused(block: &str, field: String) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("INVALID_FIELDS", format!("{block}.publica"), HashMap::new());
    details.add_bad_request_violation(field.clone(), "must not contain NUL");
    let message = format!("{field} must not contain NUL");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// What a length-delimited field holds.
enum Kind {
    Text,
    Message(String),
}

struct Field {
    name: String,
    repeated: bool,
    kind: Kind,
}

/// The texts and messages of a message, by number.
type Shape = HashMap<u32, Field>;

static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
    let mut shapes = HashMap::new();
    for set in crate::DESCRIPTORS {
        // What the build wrote; that it reads is tested.
        let set = FileDescriptorSet::decode(*set).unwrap_or_default();
        for file in set.file {
            let package = file.package().to_owned();
            for message in &file.message_type {
                add(&mut shapes, &package, message);
            }
        }
    }
    shapes
});

fn add(shapes: &mut HashMap<String, Shape>, within: &str, message: &DescriptorProto) {
    let name = format!("{within}.{}", message.name());
    for nested in &message.nested_type {
        add(shapes, &name, nested);
    }
    let shape = message.field.iter().filter_map(field).collect();
    shapes.insert(name, shape);
}

fn field(field: &FieldDescriptorProto) -> Option<(u32, Field)> {
    let kind = match field.r#type() {
        Type::String => Kind::Text,
        Type::Message => Kind::Message(field.type_name().trim_start_matches('.').to_owned()),
        _ => return None,
    };
    let described = Field {
        name: field.name().to_owned(),
        repeated: field.label() == Label::Repeated,
        kind,
    };
    Some((u32::try_from(field.number()).ok()?, described))
}

/// The path of the first text with a NUL, such as `rows[2].name`. What is no protobuf has none:
/// it is the decoder's to refuse.
fn field_with_nul(message: &str, bytes: &[u8]) -> Option<String> {
    look(SHAPES.get(message)?, bytes, 0)
}

fn look(shape: &Shape, mut bytes: &[u8], depth: usize) -> Option<String> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).ok()?;
        let content = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => {
                take(&mut bytes, 8)?;
                continue;
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                take(&mut bytes, length)?
            }
            5 => {
                take(&mut bytes, 4)?;
                continue;
            }
            // Groups are in none of our definitions.
            _ => return None,
        };
        let Some(field) = shape.get(&number) else {
            continue;
        };
        let count = counts.entry(number).or_default();
        let place = match field.repeated {
            true => format!("{}[{count}]", field.name),
            false => String::new(),
        };
        *count += 1;
        let place = if field.repeated { &place } else { &field.name };
        match &field.kind {
            Kind::Text if content.contains(&0) => return Some(place.clone()),
            Kind::Message(name) if depth < MAX_DEPTH && content.contains(&0) => {
                if let Some(inner) = look(SHAPES.get(name)?, content, depth + 1) {
                    return Some(format!("{place}.{inner}"));
                }
            }
            _ => {}
        }
    }
    None
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::v1::ImportEntitiesRequest;
    use crate::payments::v1::{CreateVoucherGroupRequest, Instruction};

    const GROUP: &str = "publica.payments.v1.CreateVoucherGroupRequest";

    fn nul<M: Message>(message: &M) -> Option<String> {
        let (_, name) = request::<M>().unwrap();
        field_with_nul(&name(), &message.encode_to_vec())
    }

    #[test]
    fn requests_are_known_by_their_types() {
        let (block, name) = request::<CreateVoucherGroupRequest>().unwrap();
        assert_eq!((block, &*name()), ("payments", GROUP));
        assert!(SHAPES.contains_key(GROUP));
        assert!(request::<Instruction>().is_none());
    }

    #[test]
    fn texts_with_nul_are_named() {
        let named = CreateVoucherGroupRequest {
            name: "FO\0D".to_owned(),
            ..CreateVoucherGroupRequest::default()
        };
        assert_eq!(nul(&named).as_deref(), Some("name"));
        assert_eq!(nul(&CreateVoucherGroupRequest::default()), None);
        let status = refused("payments", "name".to_owned());
        assert_eq!(status.code(), Code::InvalidArgument);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (&*info.reason, &*info.domain),
            ("INVALID_FIELDS", "payments.publica")
        );
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "name");
    }

    #[test]
    fn bytes_and_numbers_may_be_zero() {
        let line = ImportEntitiesRequest {
            kind: "a.b".to_owned(),
            json: vec![0; 9].into(),
            line: 0,
        };
        assert_eq!(nul(&line), None);
    }

    #[test]
    fn messages_within_messages_are_looked_into() {
        let row = |amount: &str| Instruction {
            amount: amount.to_owned(),
            ..Instruction::default()
        };
        let rows = [row("1"), row("\0")].map(|row| row.encode_to_vec());
        // A list of instructions, whatever message holds it.
        let shape = Shape::from([(
            7,
            Field {
                name: "rows".to_owned(),
                repeated: true,
                kind: Kind::Message("publica.payments.v1.Instruction".to_owned()),
            },
        )]);
        let mut bytes = Vec::new();
        for row in rows {
            prost::encoding::bytes::encode(7, &row, &mut bytes);
        }
        assert_eq!(look(&shape, &bytes, 0).as_deref(), Some("rows[1].amount"));
    }

    #[test]
    fn every_message_is_known_with_its_fields() {
        assert_eq!(crate::DESCRIPTORS.len(), 9);
        let requests = SHAPES.keys().filter(|name| name.ends_with("Request"));
        assert!(requests.count() > 100);
        for (name, shape) in SHAPES.iter() {
            for field in shape.values() {
                if let Kind::Message(inner) = &field.kind {
                    assert!(SHAPES.contains_key(inner), "{inner} of {name}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_the_decoder() {
        let name = GROUP;
        for bytes in [
            &[0xff_u8; 12][..],
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0,
            ],
            &[0x0a, 5, 0],
            &[0x0b, 0, 0],
            &[0, 0, 0],
        ] {
            assert_eq!(field_with_nul(name, bytes), None, "{bytes:?}");
        }
        // Every beginning of a message, and each of its bytes changed.
        let message = CreateVoucherGroupRequest {
            name: "FO\0D".to_owned(),
            request_id: "id".to_owned(),
            ..CreateVoucherGroupRequest::default()
        };
        let bytes = message.encode_to_vec();
        for at in 0..bytes.len() {
            let _ = field_with_nul(name, &bytes[..at]);
            for byte in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = byte;
                let _ = field_with_nul(name, &changed);
            }
        }
    }
}
