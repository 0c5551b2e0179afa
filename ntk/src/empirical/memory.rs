//! The memory that a tile takes, and the largest tile that fits.

use super::Strategy;
use super::contract::PANEL;
use super::plan::{Order, Orders};
use super::reduce::Outputs;
use super::request::Tile;
use super::uses::{Kind, Survey, Use};

/// The outputs that a trace sums at a time, whatever the memory: so its bits do not depend on it.
pub(super) const SUMMED: usize = 16;
/// Bytes that a thread holds of the examples it records at once: they stay in its second cache.
pub(super) const CHUNK: usize = 1 << 21;
/// How many times more numbers examples must give than there are weights for these not to matter.
pub(super) const LIGHT: usize = 16;
/// Rows that a product must have to pay for the packing of weights.
const ROWS: usize = 256;
/// Bytes that a thread may hold of such examples, so that what all threads hold stays in the last cache.
const LAST_CACHE: usize = 8 << 20;
/// Bytes of examples that threads record together.
const SHARED: usize = 64 << 20;

/// Bytes of every thread that do not grow with the tile: a block of a product with its panels.
const FIXED: usize = 1 << 19;

/// Everything that decides about memory.
pub(super) struct Planner<'a> {
    pub(super) survey: &'a Survey,
    pub(super) orders: &'a Orders,
    pub(super) strategy: Strategy,
    pub(super) kept: Outputs,
    pub(super) n1: usize,
    pub(super) n2: Option<usize>,
    /// Bytes of a number.
    pub(super) number: usize,
    pub(super) threads: usize,
}

impl Planner<'_> {
    /// The largest tile of outputs.
    pub(super) fn most_outputs(&self) -> usize {
        match self.kept {
            Outputs::Full | Outputs::Diagonal => self.survey.outputs.max(1),
            Outputs::Trace => self.survey.outputs.clamp(1, SUMMED),
            Outputs::Sum => 1,
        }
    }

    pub(super) fn least_outputs(&self) -> usize {
        match self.kept {
            Outputs::Full | Outputs::Diagonal | Outputs::Sum => 1,
            Outputs::Trace => self.most_outputs(),
        }
    }

    pub(super) fn most_examples(&self) -> usize {
        self.n1.max(self.n2.unwrap_or(0)).max(1)
    }

    /// How many threads record, and how many examples each at once: what stays in a cache, in equal parts, but enough for products that pay for
    /// the packing of the weights. Where this is too much for a cache, threads share every product.
    pub(super) fn chunk(&self, tile: Tile) -> (usize, usize) {
        let lanes = self.kept.lanes(0..tile.outputs);
        let each = (self.example(lanes) * self.number).max(1);
        let light = each * tile.examples >= LIGHT * self.survey.constant * self.number;
        let rows = if light { 1 } else { ROWS.div_ceil(lanes.max(1)) };
        if !light && rows * each > LAST_CACHE {
            return ((SHARED / each).clamp(1, tile.examples), 1);
        }
        let chunk = (CHUNK / each).max(rows).clamp(1, tile.examples);
        let chunks = tile.examples.div_ceil(chunk).next_multiple_of(self.threads).min(tile.examples);
        (tile.examples.div_ceil(chunks), self.threads.min(chunks))
    }

    /// Numbers of an example on a tape and in a flow.
    fn example(&self, lanes: usize) -> usize {
        self.survey.values + lanes * self.survey.cotangents
    }

    /// Bytes of working memory that a tile takes.
    pub(super) fn bytes(&self, tile: Tile) -> usize {
        let (survey, t) = (self.survey, tile.examples);
        let lanes = self.kept.lanes(0..tile.outputs);
        let (chunk, workers) = self.chunk(tile);
        let both = if self.n2.is_none() && t >= self.n1 && tile.outputs >= self.most_outputs() { 1 } else { 2 };
        let sizes = |p: usize| survey.parameters[p].size;
        let size: usize = survey.parameters.iter().filter(|p| p.wanted()).map(|p| p.size).sum();
        let whole = tile.outputs >= survey.outputs || matches!(self.kept, Outputs::Trace | Outputs::Sum);
        let temporary = if whole { 0 } else { t * t * self.kept.entries_of(lanes, lanes) };
        let products = match self.kept {
            Outputs::Full => t * lanes * t * lanes,
            Outputs::Trace | Outputs::Diagonal | Outputs::Sum => t * t,
        };
        // A seed, and images with borders and panels or a scaled factor, for every thread.
        let operations =
            (chunk * lanes * survey.outputs) + 3 * survey.largest + 2 * survey.parameters.iter().map(|p| p.size).max().unwrap_or(0);
        let entries = match self.strategy {
            Strategy::Products => {
                let left = survey.constant + t * survey.values;
                2 * left
                    + survey.cotangents * t * lanes
                    + lanes * t * size
                    + t * t * lanes * survey.tangents
                    + operations
                    + 2 * lanes * t * t
            }
            Strategy::Jacobian => {
                let rows = t * lanes * size;
                let recorded = survey.constant + t * self.example(lanes) + rows;
                recorded + both * rows + self.panels(tile, size) + products + temporary + operations
            }
            Strategy::Auto | Strategy::Structured => {
                let mut prepared = 0;
                let (mut turned, mut contracted) = (0, 0);
                for (p, parameter) in survey.parameters.iter().enumerate() {
                    match self.orders.of[p] {
                        Order::Nothing => (),
                        Order::Jacobian => {
                            prepared += t * lanes * sizes(p);
                            turned = turned.max(if chunk > 1 && lanes > 1 { chunk * lanes * sizes(p) } else { 0 });
                            contracted = contracted.max(self.panels(tile, sizes(p)) + products);
                        }
                        Order::Pooled => {
                            let o = parameter.uses[0].n_out;
                            prepared += t * (sizes(p) + lanes * o);
                            turned = turned.max(chunk * (sizes(p) + 3 * parameter.uses[0].cotangents()));
                            let channel = Use { n_out: 1, ..parameter.uses[0] };
                            contracted = contracted.max(self.factor_panels(&channel, t, lanes));
                        }
                        Order::Gram | Order::Sites => {
                            let mut panels = 0;
                            for u in &parameter.uses {
                                let cotangents = if self.orders.beside[p].is_some() { 0 } else { lanes * u.cotangents() };
                                prepared += t * (u.features() + cotangents);
                                panels = panels.max(self.factor_panels(u, t, lanes));
                            }
                            let largest = parameter.uses.iter().map(|u| u.sites * (u.sites + lanes * u.n_out) + lanes * lanes).max();
                            contracted = contracted.max(match self.orders.of[p] {
                                Order::Sites => self.threads * 2 * largest.unwrap_or(0),
                                Order::Nothing | Order::Jacobian | Order::Gram | Order::Pooled => panels,
                            });
                        }
                    }
                }
                let worker = chunk * self.example(lanes) + turned + operations;
                survey.constant + workers * worker + both * prepared + contracted + temporary
            }
        };
        entries * self.number + self.threads * FIXED
    }

    /// What a product of rows of derivatives packs.
    fn panels(&self, tile: Tile, size: usize) -> usize {
        let lanes = self.kept.lanes(0..tile.outputs);
        let (rows, length) = match self.kept {
            Outputs::Full => (tile.examples * lanes, size),
            Outputs::Trace | Outputs::Sum => (tile.examples, lanes * size),
            Outputs::Diagonal => (tile.examples, size),
        };
        let gram = if rows >= PANEL { simd::gram_panels(rows, length, self.number) } else { 0 };
        // Strips of a right factor, and panels of the rows of a left one.
        let product = (rows * length).min(1 << 20) + rows.min(192).next_multiple_of(6) * length;
        gram.max(product)
    }

    /// What a Gram matrix of features and one of cotangents pack.
    fn factor_panels(&self, u: &Use, t: usize, lanes: usize) -> usize {
        let (rows, length) = match self.kept {
            Outputs::Full => (t * lanes, u.n_out),
            Outputs::Trace | Outputs::Sum => (t, lanes * u.n_out),
            Outputs::Diagonal => (t, u.n_out),
        };
        let both = |rows: usize, length: usize| (rows.next_multiple_of(32) + rows.next_multiple_of(6)) * length;
        let features = if u.kind == Kind::Features { both(t, u.n_in) } else { 0 };
        // Both Gram matrices of a block.
        let block = 2 * (96 * 96).min(rows * rows);
        features + both(rows, length) + self.threads * block
    }

    /// The largest tile that fits, with all outputs if there is one.
    pub(super) fn tile(&self, memory: usize) -> Option<Tile> {
        let mut outputs = self.most_outputs();
        loop {
            let fits = |examples: usize| self.bytes(Tile { examples, outputs }) <= memory;
            if fits(1) {
                let (mut most, mut too_many) = (1, self.most_examples() + 1);
                while too_many - most > 1 {
                    let middle = most + (too_many - most) / 2;
                    if fits(middle) {
                        most = middle;
                    } else {
                        too_many = middle;
                    }
                }
                return Some(Tile { examples: most, outputs });
            }
            if outputs == self.least_outputs() {
                return None;
            }
            outputs = outputs.div_ceil(2).max(self.least_outputs());
        }
    }

    pub(super) fn least(&self) -> usize {
        self.bytes(Tile { examples: 1, outputs: self.least_outputs() })
    }
}
