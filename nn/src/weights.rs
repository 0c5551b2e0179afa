//! Files of weights: safetensors with PyTorch's names and shapes.

use crate::network::{Network, Parameter};
use autodiff::Scalar;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// What is wrong with a file of weights.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum WeightsError {
    /// A Python pickle or a zip archive, such as `torch.save` makes.
    #[error(
        "this is a PyTorch checkpoint and not a safetensors file; convert it with: python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('model.pt', weights_only=True), 'model.safetensors')\""
    )]
    Pickle,
    /// The bytes are not a safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Format(String),
    /// Tensors are missing or left over.
    #[error("the network has {wanted} parameters ({wanted_names}) and the file has {found} tensors ({found_names})")]
    Count {
        /// How many the network has.
        wanted: usize,
        /// Their names.
        wanted_names: String,
        /// How many the file has.
        found: usize,
        /// Their names.
        found_names: String,
    },
    /// A tensor that is neither `N.weight` nor `N.bias`.
    #[error("tensor `{}` is neither `N.weight` nor `N.bias` with a number N", .0.escape_debug())]
    Name(String),
    /// A tensor that the header names twice.
    #[error("tensor `{}` is in the file twice", .0.escape_debug())]
    Duplicate(String),
    /// A tensor of the wrong kind or shape.
    #[error("tensor `{}` has shape {found:?}, and the network's {wanted_name} needs {wanted:?}", .name.escape_debug())]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The parameter that it was matched to.
        wanted_name: String,
        /// The shape that was needed.
        wanted: Vec<usize>,
    },
    /// A type of numbers that is not read.
    #[error("tensor `{}` holds {found}, and only F16, BF16, F32 and F64 are read", .name.escape_debug())]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A weight that is not finite, or that is too large for the scalar that it is read into.
    #[error("tensor `{}`: entry {index} is {value}, and weights must be finite numbers of the type that they are read into", .name.escape_debug())]
    NotFinite {
        /// The tensor.
        name: String,
        /// The place, counted from 0.
        index: usize,
        /// The value in the file.
        value: f64,
    },
}

/// Where the entries of a weight lie: here `[site, channel, out]`, in a file `[out, channel, site]`. Calls `f` with both places of every entry.
///
/// The sites of a convolution are the cells of its filters; those of a dense layer behind a flattened image with its channels first are the
/// places of that image, and any other dense layer has one.
fn each_place(p: &Parameter, mut f: impl FnMut(usize, usize)) {
    let (n_in, outs) = (p.shape.rows(), p.shape.cols());
    let channels = n_in / p.sites;
    for site in 0..p.sites {
        for channel in 0..channels {
            for out in 0..outs {
                f((site * channels + channel) * outs + out, (out * channels + channel) * p.sites + site);
            }
        }
    }
}

pub(crate) fn from_file<T: Scalar>(p: &Parameter, file: &[T]) -> Vec<T> {
    let mut values = file.to_vec();
    if p.role.is_weight() {
        each_place(p, |here, there| values[here] = file[there]);
    }
    values
}

pub(crate) fn to_file<T: Scalar>(p: &Parameter, values: &[T]) -> Vec<T> {
    let mut file = values.to_vec();
    if p.role.is_weight() {
        each_place(p, |here, there| file[there] = values[here]);
    }
    file
}

/// `N.weight` or `N.bias` as (N, whether it is a bias). N is written as PyTorch writes it, without a sign or leading zeros, so that
/// no two names mean the same place.
fn order(name: &str) -> Option<(u64, bool)> {
    let (digits, kind) = name.split_once('.')?;
    let number: u64 = digits.parse().ok()?;
    if number.to_string() != digits {
        return None;
    }
    match kind {
        "weight" => Some((number, false)),
        "bias" => Some((number, true)),
        _ => None,
    }
}

impl Network {
    /// Reads weights from the bytes of a safetensors file: tensors `N.weight`, `N.bias`, sorted by `N` as a number, are matched in order
    /// to the layers with weights. A file holds `W` and `β` before any multiplier, a weight as `[out, n_in]` or, of a convolution,
    /// `[out, channels, height, width]`, in half, bfloat, single or double precision.
    ///
    /// # Errors
    /// If the bytes are no such file, if names, shapes or the number of tensors do not fit the network, or if a value is not finite as a `T`.
    pub fn load_weights<T: Scalar>(&self, bytes: &[u8]) -> Result<Vec<Vec<T>>, WeightsError> {
        // The magic numbers are looked at only when reading has failed: a safetensors file with a header of 640 bytes begins like a pickle.
        let file = SafeTensors::deserialize(bytes).map_err(|e| match bytes {
            [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => WeightsError::Pickle,
            _ => WeightsError::Format(e.to_string().escape_debug().to_string()),
        })?;
        if let Some(name) = duplicate(bytes) {
            return Err(WeightsError::Duplicate(name));
        }
        let mut tensors: Vec<(String, TensorView<'_>)> = file.tensors();
        if let Some((name, _)) = tensors.iter().find(|(name, _)| order(name).is_none()) {
            return Err(WeightsError::Name(name.clone()));
        }
        tensors.sort_by_key(|(name, _)| order(name));
        if tensors.len() != self.parameters().len() {
            let list = |names: Vec<&str>| names.join(", ");
            return Err(WeightsError::Count {
                wanted: self.parameters().len(),
                wanted_names: list(self.parameters().iter().map(|p| p.name.as_str()).collect()),
                found: tensors.len(),
                found_names: list(tensors.iter().take(100).map(|(name, _)| name.as_str()).collect()),
            });
        }
        tensors.iter().zip(self.parameters()).map(|((name, tensor), p)| read(name, tensor, p)).collect()
    }

    /// The bytes of a safetensors file with the parameters, as [`load_weights`](Network::load_weights) reads them: F32 or F64 by `T`.
    ///
    /// # Panics
    /// If the parameters are not those of the network.
    #[track_caller]
    pub fn save_weights<T: autodiff::Float + Scalar>(&self, parameters: &[Vec<T>]) -> Vec<u8> {
        self.assert_count(parameters.len());
        let bytes: Vec<Vec<u8>> = (self.parameters().iter().zip(parameters))
            .map(|(p, values)| {
                assert_eq!(p.shape.len(), values.len(), "{} has shape {}, and {} values were given", p.name, p.shape, values.len());
                bytes_of(&to_file(p, values))
            })
            .collect();
        let views = self.parameters().iter().zip(&bytes).map(|(p, bytes)| {
            let view = TensorView::new(dtype::<T>(), p.file_shape.clone(), bytes).expect("the bytes were made for this shape");
            (p.name.clone(), view)
        });
        safetensors::serialize(views, None).expect("names are distinct and every tensor fits its shape")
    }
}

/// The type of such numbers in a file.
pub(crate) fn dtype<T>() -> Dtype {
    if size_of::<T>() == size_of::<f32>() { Dtype::F32 } else { Dtype::F64 }
}

/// Numbers as they stand in a file.
pub(crate) fn bytes_of<T: Scalar>(values: &[T]) -> Vec<u8> {
    match dtype::<T>() {
        Dtype::F32 => values.iter().flat_map(|v| (v.primal() as f32).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.primal().to_le_bytes()).collect(),
    }
}

/// The numbers of a tensor, or the name of a type that is not read.
pub(crate) fn numbers(tensor: &TensorView<'_>) -> Result<Vec<f64>, String> {
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
        Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect(),
        other => return Err(format!("{other:?}")),
    })
}

/// A name that the header of a file, which was read without complaint, has twice.
fn duplicate(bytes: &[u8]) -> Option<String> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a header")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
            let (mut seen, mut twice) = (BTreeSet::new(), None);
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                twice = twice.or(seen.contains(&name).then(|| name.clone()));
                seen.insert(name);
            }
            Ok(twice)
        }
    }
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    serde_json::Deserializer::from_slice(header).deserialize_map(Names).ok()?
}

fn read<T: Scalar>(name: &str, tensor: &TensorView<'_>, p: &Parameter) -> Result<Vec<T>, WeightsError> {
    let is_bias = order(name).is_some_and(|(_, bias)| bias);
    if tensor.shape() != p.file_shape || is_bias == p.role.is_weight() {
        let (found, wanted) = (tensor.shape().to_vec(), p.file_shape.clone());
        return Err(WeightsError::Shape { name: name.into(), found, wanted_name: p.name.clone(), wanted });
    }
    let values = numbers(tensor).map_err(|found| WeightsError::Type { name: name.into(), found })?;
    let rounded: Vec<T> = values.iter().map(|&v| T::of(v)).collect();
    if let Some(index) = rounded.iter().position(|v| !v.primal().is_finite()) {
        return Err(WeightsError::NotFinite { name: name.into(), index, value: values[index] });
    }
    Ok(from_file(p, &rounded))
}
