//! Typed ids.

/// Declares a newtype over a UUID for one kind of id, so that two kinds cannot be mixed up.
///
/// ```
/// publica_types::typed_id! {
///     /// Names an account.
///     pub struct AccountId;
/// }
/// let text = "018f4e3c-5f00-7000-8000-000000000001";
/// assert_eq!(text.parse::<AccountId>().unwrap().to_string(), text);
/// ```
#[macro_export]
macro_rules! typed_id {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name($crate::macro_support::uuid::Uuid);

        impl $name {
            /// Mints a new id (version 7) from the injected clock and randomness.
            $vis fn new(clock: &dyn $crate::Clock, entropy: &dyn $crate::Entropy) -> Self {
                Self($crate::new_uuid(clock, entropy))
            }

            /// Wraps a UUID that is known to name this kind of thing.
            $vis const fn from_uuid(uuid: $crate::macro_support::uuid::Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            $vis const fn as_uuid(&self) -> $crate::macro_support::uuid::Uuid {
                self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::macro_support::uuid::Error;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                $crate::macro_support::uuid::Uuid::parse_str(text).map(Self)
            }
        }

        impl $crate::macro_support::serde::Serialize for $name {
            fn serialize<S: $crate::macro_support::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                $crate::macro_support::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> $crate::macro_support::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::macro_support::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                $crate::macro_support::serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }

        // A kind that does not need all of them is no dead code.
        const _: fn(&dyn $crate::Clock, &dyn $crate::Entropy) -> $name = $name::new;
        const _: fn($crate::macro_support::uuid::Uuid) -> $name = $name::from_uuid;
        const _: fn(&$name) -> $crate::macro_support::uuid::Uuid = $name::as_uuid;

        $crate::typed_id_sqlx!($name);
    )+};
}

/// The storage half of [`typed_id!`]: stored exactly as the UUID inside.
#[cfg(feature = "sqlx")]
#[doc(hidden)]
#[macro_export]
macro_rules! typed_id_sqlx {
    ($name:ident) => {
        impl<DB> $crate::macro_support::sqlx::Type<DB> for $name
        where
            DB: $crate::macro_support::sqlx::Database,
            $crate::macro_support::uuid::Uuid: $crate::macro_support::sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$crate::macro_support::uuid::Uuid as
                    $crate::macro_support::sqlx::Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <$crate::macro_support::uuid::Uuid as
                    $crate::macro_support::sqlx::Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB> $crate::macro_support::sqlx::Encode<'q, DB> for $name
        where
            DB: $crate::macro_support::sqlx::Database,
            $crate::macro_support::uuid::Uuid: $crate::macro_support::sqlx::Encode<'q, DB>,
        {
            fn encode_by_ref(
                &self,
                buf: &mut <DB as $crate::macro_support::sqlx::Database>::ArgumentBuffer,
            ) -> ::std::result::Result<
                $crate::macro_support::sqlx::encode::IsNull,
                $crate::macro_support::sqlx::error::BoxDynError,
            > {
                $crate::macro_support::sqlx::Encode::<DB>::encode_by_ref(&self.0, buf)
            }
        }

        impl<'r, DB> $crate::macro_support::sqlx::Decode<'r, DB> for $name
        where
            DB: $crate::macro_support::sqlx::Database,
            $crate::macro_support::uuid::Uuid: $crate::macro_support::sqlx::Decode<'r, DB>,
        {
            fn decode(
                value: <DB as $crate::macro_support::sqlx::Database>::ValueRef<'r>,
            ) -> ::std::result::Result<Self, $crate::macro_support::sqlx::error::BoxDynError> {
                $crate::macro_support::sqlx::Decode::<DB>::decode(value).map(Self)
            }
        }

        impl $crate::macro_support::sqlx::postgres::PgHasArrayType for $name {
            fn array_type_info() -> $crate::macro_support::sqlx::postgres::PgTypeInfo {
                <$crate::macro_support::uuid::Uuid as
                    $crate::macro_support::sqlx::postgres::PgHasArrayType>::array_type_info()
            }
        }
    };
}

/// Without the feature `sqlx`, ids have no storage half.
#[cfg(not(feature = "sqlx"))]
#[doc(hidden)]
#[macro_export]
macro_rules! typed_id_sqlx {
    ($name:ident) => {};
}

#[cfg(test)]
mod tests {
    use crate::{SystemClock, SystemEntropy};

    typed_id! {
        /// One kind.
        pub(crate) struct AccountId;
        /// Another kind.
        pub(crate) struct HolderId;
    }

    #[test]
    fn ids_survive_text_and_json() {
        let id = AccountId::new(&SystemClock, &SystemEntropy);
        assert_eq!(id.to_string().parse::<AccountId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<AccountId>(&json).unwrap(), id);
        assert_eq!(AccountId::from_uuid(id.as_uuid()), id);
    }

    #[test]
    fn a_text_that_is_no_uuid_is_refused() {
        assert!("account-7".parse::<HolderId>().is_err());
    }
}
