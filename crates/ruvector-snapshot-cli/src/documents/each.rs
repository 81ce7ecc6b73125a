//! A list of the library, written as a list of documents, one after the other: they are never in memory together.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

/// The items of a list as documents of the type `D`.
#[derive(Debug)]
pub(crate) struct Each<'a, T, D>(&'a [T], PhantomData<D>);

impl<'a, T, D: From<&'a T>> From<&'a [T]> for Each<'a, T, D> {
    fn from(items: &'a [T]) -> Self {
        Self(items, PhantomData)
    }
}

impl<'a, T, D: From<&'a T>> From<&'a Vec<T>> for Each<'a, T, D> {
    fn from(items: &'a Vec<T>) -> Self {
        Self(items, PhantomData)
    }
}

impl<'a, T, D: From<&'a T> + Serialize> Serialize for Each<'a, T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(D::from))
    }
}

impl<T, D: JsonSchema> JsonSchema for Each<'_, T, D> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<D>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<D>::json_schema(generator)
    }
}
