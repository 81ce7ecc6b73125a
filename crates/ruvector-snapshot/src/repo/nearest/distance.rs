//! The distances that Ruvector gives to the results of a search, by its own functions. Pure.

use ruvector_core::DistanceMetric;
use ruvector_core::distance::distance;
use ruvector_core::simd_intrinsics::{
    cosine_similarity_simd, dot_product_simd, euclidean_distance_simd, manhattan_distance_simd,
};
use ruvector_core::types::{DbOptions, QuantizationConfig};

/// The distance of a database. Its indexes compute the same distance in different ways, so the last digits depend on the
/// index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Distance {
    metric: DistanceMetric,
    index: Index,
}

/// What computes the distances of the results of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    Flat,
    /// HNSW over the vectors themselves.
    Graph,
    /// HNSW over quantized vectors, whose results are ranked again by the vectors themselves.
    Quantized,
}

/// A vector in the form that is compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Point {
    values: Vec<f32>,
    /// Whether its distances are numbers.
    is_comparable: bool,
}

impl Point {
    /// Returns whether its distances are numbers.
    pub(crate) fn is_comparable(&self) -> bool {
        self.is_comparable
    }
}

impl Distance {
    /// Returns the distance that a database with these options has.
    pub(crate) fn of(options: &DbOptions) -> Self {
        let index = match (&options.hnsw_config, &options.quantization) {
            (None, _) => Index::Flat,
            (Some(_), Some(QuantizationConfig::Turbo4 { .. })) => Index::Quantized,
            (Some(_), _) => Index::Graph,
        };
        Self { metric: options.distance_metric, index }
    }

    /// Returns a vector in the form that is compared.
    pub(crate) fn point(self, values: impl Iterator<Item = f32>) -> Point {
        let mut point = Point::default();
        self.fill(&mut point, values);
        point
    }

    /// As [`point`](Self::point), in the memory of another one.
    pub(crate) fn fill(self, Point { values: to, is_comparable }: &mut Point, values: impl Iterator<Item = f32>) {
        to.clear();
        to.extend(values);
        // For a value that is no number, the functions of Ruvector can return the smallest distance.
        *is_comparable = match self.metric {
            DistanceMetric::Cosine => to.iter().all(|value| value.is_finite()),
            _ => !to.iter().any(|value| value.is_nan()),
        };
        if (self.metric, self.index) == (DistanceMetric::Cosine, Index::Graph) {
            // The index has vectors of length 1. The sum is that of the index, value by value.
            let norm = to.iter().map(|value| value * value).sum::<f32>().sqrt();
            if norm > 0.0 {
                to.iter_mut().for_each(|value| *value /= norm);
            }
        }
    }

    /// Returns the distance between two vectors of the same dimensions. The smaller, the nearer. NaN if one of them has a
    /// value that is no number, or for the cosine one that is infinite.
    pub(crate) fn between(self, one: &Point, other: &Point) -> f32 {
        if !one.is_comparable || !other.is_comparable {
            return f32::NAN;
        }
        let (one, other) = (one.values.as_slice(), other.values.as_slice());
        let found = match (self.index, self.metric) {
            // Fails only for vectors of different lengths.
            (Index::Flat, metric) => distance(one, other, metric).unwrap_or(f32::NAN),
            (_, DistanceMetric::Euclidean) => euclidean_distance_simd(one, other),
            (_, DistanceMetric::Manhattan) => manhattan_distance_simd(one, other),
            // Ruvector ranks the results of a quantized index by this distance, but reports no negative one.
            (_, DistanceMetric::DotProduct) => -dot_product_simd(one, other),
            (Index::Quantized, DistanceMetric::Cosine) => not_negative(1.0 - cosine_similarity_simd(one, other)),
            (_, DistanceMetric::Cosine) => not_negative(1.0 - dot_product_simd(one, other)),
        };
        // 0 and not -0, which is equal and is printed in another way.
        found + 0.0
    }
}

/// Replaces a negative distance, which comes from rounding, by 0. `f32::max` would make 0 of NaN, the nearest of all.
fn not_negative(distance: f32) -> f32 {
    if distance < 0.0 { 0.0 } else { distance }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ruvector_core::VectorDB;
    use ruvector_core::VectorEntry;
    use ruvector_core::types::{HnswConfig, SearchQuery};

    use super::*;

    const METRICS: [DistanceMetric; 4] =
        [DistanceMetric::Euclidean, DistanceMetric::Cosine, DistanceMetric::DotProduct, DistanceMetric::Manhattan];

    fn vector(number: u32, dimensions: usize) -> Vec<f32> {
        let mut state = number.wrapping_mul(0x9E37_79B9) | 1;
        let value = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.4
        };
        (0..dimensions).map(value).collect()
    }

    /// Asserts that a search of Ruvector has the same distances, bit by bit.
    fn assert_as_ruvector(options: DbOptions) {
        let (dimensions, distance) = (options.dimensions, Distance::of(&options));
        let clamps = distance.index == Index::Quantized;
        let db = VectorDB::new(options).unwrap();
        let mut vectors: Vec<_> = (0..30).map(|number| vector(number, dimensions)).collect();
        vectors.push(vec![0.0; dimensions]);
        for (number, vector) in vectors.iter().enumerate() {
            db.insert(VectorEntry { id: Some(number.to_string()), vector: vector.clone(), metadata: None }).unwrap();
        }
        for query in [vector(3, dimensions), vector(99, dimensions), vec![0.0; dimensions]] {
            let search = SearchQuery { vector: query.clone(), k: 40, filter: None, ef_search: Some(100) };
            let point = distance.point(query.into_iter());
            let found = db.search(search).unwrap();
            assert_eq!(found.len(), vectors.len(), "{distance:?}");
            for result in found {
                let other = vectors[result.id.parse::<usize>().unwrap()].iter().copied();
                let between = distance.between(&point, &distance.point(other));
                let expected = if clamps { between.max(0.0) } else { between };
                assert_eq!(result.score, expected, "{distance:?}, {}", result.id);
            }
        }
    }

    #[test]
    fn distances_are_those_of_a_search_of_ruvector_for_every_metric_and_index() {
        for metric in METRICS {
            for dimensions in [1, 2, 7, 8, 64, 100, 384] {
                let options = DbOptions {
                    dimensions,
                    distance_metric: metric,
                    storage_path: "memory://".to_owned(),
                    hnsw_config: None,
                    quantization: None,
                };
                assert_as_ruvector(options.clone());
                let graph = DbOptions { hnsw_config: Some(HnswConfig::default()), ..options };
                assert_as_ruvector(graph.clone());
                let quantized = r#"{"Turbo4":{}}"#;
                if metric != DistanceMetric::Manhattan && dimensions % 2 == 0 {
                    assert_as_ruvector(DbOptions {
                        quantization: Some(serde_json::from_str(quantized).unwrap()),
                        ..graph
                    });
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_no_number_makes_a_distance_that_is_none() {
        for metric in METRICS {
            for hnsw_config in [None, Some(HnswConfig::default())] {
                let options =
                    DbOptions { distance_metric: metric, hnsw_config, quantization: None, ..DbOptions::default() };
                let distance = Distance::of(&options);
                let numbers = distance.point([1.0, 2.0].into_iter());
                let none = distance.point([f32::NAN, 0.0].into_iter());
                assert!(!distance.between(&numbers, &numbers).is_nan(), "{distance:?}");
                assert!(distance.between(&numbers, &none).is_nan(), "{distance:?}");
                assert!(distance.between(&none, &numbers).is_nan(), "{distance:?}");
            }
        }
    }
}
