//! Scales and ticks: from values to places along an axis, and the few values that are printed beside it.

use super::{Axis, Scale};

/// An axis with its ends decided. Ends are kept in the coordinate of the scale: v, log₁₀ v or log₂ v.
pub(super) struct Extent {
    scale: Scale,
    low: f64,
    high: f64,
}

/// A printed tick: where it stands, 0 at the low end and 1 at the high end, and its label.
pub(super) struct Tick {
    pub(super) place: f64,
    pub(super) label: String,
}

/// How much room the data gets beside the axis ends that fit it.
pub(super) struct Room {
    /// The least range on either side, in the coordinate of the scale: half a bar, for example.
    pub(super) side: f64,
    /// Whether zero belongs to the picture, as it does for bars.
    pub(super) zero: bool,
}

/// Ends that f64 arithmetic on a range can bear: twice as much is still finite, as is the next power beside it.
const LARGEST: f64 = 1e300;
const DECADES: (f64, f64) = (-307.0, 308.0);
const OCTAVES: (f64, f64) = (-1021.0, 1023.0);
/// Narrower ranges, relative to their values, could not be labelled with distinct short numbers.
const NARROWEST: f64 = 1e-9;

impl Extent {
    /// Ends as the axis gives them, or as the finite (on logarithmic axes also positive) values need.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, room: Room) -> Extent {
        let scale = axis.scale.clone();
        if let Scale::Category(names) = &scale {
            let high = names.len().max(1) as f64 - 0.5;
            return Extent { scale, low: -0.5, high };
        }
        let given = axis.range.and_then(|(low, high)| {
            let (low, high) = (coordinate(&scale, low)?, coordinate(&scale, high)?);
            (low < high).then_some((low, high))
        });
        let (low, high) = given.unwrap_or_else(|| {
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            let zero = (room.zero && scale == Scale::Linear).then_some(0.0);
            for v in values.filter_map(|v| coordinate(&scale, v)).chain(zero) {
                (low, high) = (low.min(v), high.max(v));
            }
            fit(&scale, low, high, &room)
        });
        let (low, high) = widen(&scale, low, high);
        Extent { scale, low, high }
    }

    /// The place of a value: 0 at the low end, 1 at the high end, beyond outside; `None` if the scale has no place for it.
    /// Far outside it is cut off, so that it can be printed.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        coordinate(&self.scale, value).map(|v| self.unit(v))
    }

    /// The value in words: the name of a category, or the shortest decimal that is the same number.
    pub(super) fn exact(&self, value: f64) -> String {
        let name = match &self.scale {
            Scale::Category(names) => category(names, value),
            Scale::Linear | Scale::Log10 | Scale::Log2 => None,
        };
        let short = value == 0.0 || (1e-5..1e9).contains(&value.abs());
        match name {
            Some(name) => name.to_string(),
            None if short => minus(&format!("{value}")),
            None => minus(&format!("{value:e}")),
        }
    }

    /// The place that bars grow from: zero, or the low end where zero is infinitely far.
    pub(super) fn base(&self) -> f64 {
        match self.scale {
            Scale::Linear => self.unit(0.0).clamp(0.0, 1.0),
            Scale::Log10 | Scale::Log2 | Scale::Category(_) => 0.0,
        }
    }

    /// The distance of the ends in the coordinate of the scale.
    pub(super) fn span(&self) -> f64 {
        self.high - self.low
    }

    fn unit(&self, v: f64) -> f64 {
        ((v - self.low) / (self.high - self.low)).clamp(-1e3, 1e3)
    }

    /// Labelled ticks: 3 to 10 of them inside the ends, increasing; on a category axis one a name.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        match &self.scale {
            Scale::Linear => self.linear_ticks(self.low, self.high),
            Scale::Log10 => self.decade_ticks(),
            Scale::Log2 => self.octave_ticks(),
            Scale::Category(names) => {
                let tick = |(i, name): (usize, &String)| Tick { place: self.unit(i as f64), label: name.clone() };
                names.iter().enumerate().map(tick).collect()
            }
        }
    }

    /// Places of unlabelled ticks: 2, 3, …, 9 times powers of ten, where decades are not too narrow to show them.
    pub(super) fn minor_places(&self) -> Vec<f64> {
        let shown = match self.scale {
            Scale::Log10 => self.high - self.low <= 8.0,
            Scale::Linear | Scale::Log2 | Scale::Category(_) => false,
        };
        if !shown {
            return Vec::new();
        }
        let decades = self.low.floor() as i32..=self.high.floor() as i32;
        let places = decades.flat_map(|e| (2..10).map(move |m| f64::from(e) + f64::from(m).log10()));
        places.map(|v| self.unit(v)).filter(|place| (0.0..=1.0).contains(place)).collect()
    }

    /// Multiples of the largest step 1, 2 or 5 × 10ⁿ that gives at least four of them.
    ///
    /// With at most three at the step before, the range is shorter than four of those, so ten of these at most.
    fn linear_ticks(&self, low: f64, high: f64) -> Vec<Tick> {
        let span = high - low;
        let mut exponent = span.log10().floor() as i32;
        loop {
            for mantissa in [5.0, 2.0, 1.0] {
                let step = mantissa * power_of_ten(exponent);
                // A tick at an end must not be lost to rounding.
                let slack = 1e-9 * span / step;
                let first = (low / step - slack).ceil();
                let count = ((high / step + slack).floor() - first + 1.0).max(0.0) as usize;
                if count >= 4 {
                    let values: Vec<f64> = (0..count).map(|i| (first + i as f64) * step).collect();
                    let labels = decimal_labels(&values, step, exponent);
                    return self.label(values, labels);
                }
            }
            exponent -= 1;
        }
    }

    /// Powers of ten; where fewer than three fit, 1, 2 and 5 times powers of ten; where those do not, linear ticks.
    fn decade_ticks(&self) -> Vec<Tick> {
        let slack = 1e-9;
        let (first, last) = ((self.low - slack).ceil() as i32, (self.high + slack).floor() as i32);
        if last - first >= 2 {
            let stride = (last - first) / 10 + 1;
            let exponents: Vec<i32> = (first..=last).filter(|e| e.rem_euclid(stride) == 0).collect();
            let plain = first >= -2 && last <= 4;
            let label = |&e: &i32| if plain { plain_power(e) } else { format!("10{}", superscript(e)) };
            let labels = exponents.iter().map(label).collect();
            return self.label(exponents.iter().map(|&e| power_of_ten(e)).collect(), labels);
        }
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for e in first - 1..=last {
            for mantissa in [1.0, 2.0, 5.0_f64] {
                let v = f64::from(e) + mantissa.log10();
                if v >= self.low - slack && v <= self.high + slack {
                    let value = mantissa * power_of_ten(e);
                    labels.push(decimal_labels(&[value], value, e).remove(0));
                    values.push(value);
                }
            }
        }
        if values.len() >= 3 {
            return self.label(values, labels);
        }
        self.linear_ticks(10f64.powf(self.low), 10f64.powf(self.high))
    }

    /// Powers of two, every second or third one where there are many; where fewer than three fit, linear ticks.
    fn octave_ticks(&self) -> Vec<Tick> {
        let slack = 1e-9;
        let (first, last) = ((self.low - slack).ceil() as i32, (self.high + slack).floor() as i32);
        if last - first < 2 {
            return self.linear_ticks(self.low.exp2(), self.high.exp2());
        }
        let stride = (last - first) / 10 + 1;
        let exponents: Vec<i32> = (first..=last).filter(|e| e.rem_euclid(stride) == 0).collect();
        let plain = first >= -4 && last <= 17;
        let value = |e: i32| f64::from(e).exp2();
        let label = |&e: &i32| if plain { format!("{}", value(e)) } else { format!("2{}", superscript(e)) };
        let labels = exponents.iter().map(label).collect();
        self.label(exponents.iter().map(|&e| value(e)).collect(), labels)
    }

    fn label(&self, values: Vec<f64>, labels: Vec<String>) -> Vec<Tick> {
        let tick = |(value, label)| Tick { place: self.place(value).unwrap_or(0.0).clamp(0.0, 1.0), label };
        values.into_iter().zip(labels).map(tick).collect()
    }
}

/// The name at a value that is exactly an index.
pub(super) fn category(names: &[String], value: f64) -> Option<&str> {
    let exact = value >= 0.0 && value.fract() == 0.0 && value < names.len() as f64;
    exact.then(|| names[value as usize].as_str())
}

/// v, log₁₀ v or log₂ v, if the scale has a place for v.
fn coordinate(scale: &Scale, value: f64) -> Option<f64> {
    let v = match scale {
        Scale::Linear | Scale::Category(_) => value,
        Scale::Log10 => value.log10(),
        Scale::Log2 => value.log2(),
    };
    v.is_finite().then_some(v)
}

/// Ends around the data with a margin of 4 %; data that does not go below zero gets no negative axis.
fn fit(scale: &Scale, low: f64, high: f64, room: &Room) -> (f64, f64) {
    if low > high {
        return match scale {
            Scale::Linear | Scale::Category(_) => (0.0, 1.0),
            Scale::Log10 | Scale::Log2 => (-1.0, 1.0),
        };
    }
    // Halved first, because the difference of the largest numbers overflows.
    let margin = (0.08 * (high / 2.0 - low / 2.0)).max(room.side);
    let (wide_low, wide_high) = (low - margin, high + margin);
    let stays = *scale == Scale::Linear && room.side == 0.0;
    let wide_low = if stays && low >= 0.0 && wide_low < 0.0 { 0.0 } else { wide_low };
    let wide_high = if stays && high <= 0.0 && wide_high > 0.0 { 0.0 } else { wide_high };
    (wide_low, wide_high)
}

/// Ends kept within what arithmetic can bear, and apart.
fn widen(scale: &Scale, low: f64, high: f64) -> (f64, f64) {
    let ((least, most), smallest) = match scale {
        Scale::Linear | Scale::Category(_) => ((-LARGEST, LARGEST), 1e-300),
        Scale::Log10 => (DECADES, 1e-3),
        Scale::Log2 => (OCTAVES, 1e-2),
    };
    let (low, high) = (low.clamp(least, most), high.clamp(least, most));
    let size = low.abs().max(high.abs());
    if high - low > (NARROWEST * size).max(smallest) {
        return (low, high);
    }
    let middle = low / 2.0 + high / 2.0;
    let half = match scale {
        Scale::Linear | Scale::Category(_) => {
            if size < 1e-290 {
                1.0
            } else {
                0.5 * size
            }
        }
        Scale::Log10 | Scale::Log2 => 1.0,
    };
    ((middle - half).max(least), (middle + half).min(most))
}

/// Labels of values that are multiples of a step: plain decimals, or `2.5×10⁻⁷` where those would be long.
fn decimal_labels(values: &[f64], step: f64, step_exponent: i32) -> Vec<String> {
    let size = values.iter().fold(step, |size, v| size.max(v.abs()));
    let top = size.log10().floor() as i32;
    let plain = (-3..=4).contains(&top) && step_exponent >= -6;
    let label = |&v: &f64| {
        // A multiple of the step that is zero up to rounding.
        if v.abs() < 0.5 * step {
            return "0".to_string();
        }
        if plain {
            return minus(&format!("{v:.*}", (-step_exponent).max(0) as usize));
        }
        let digits = (top - step_exponent).max(0) as usize;
        let mantissa = format!("{:.digits$}", v / power_of_ten(top));
        // A power of ten among multiples of a step is written like the others.
        if mantissa == "1" && values.len() == 1 {
            return format!("10{}", superscript(top));
        }
        format!("{}×10{}", minus(&mantissa), superscript(top))
    };
    values.iter().map(label).collect()
}

/// 10ᵉ, rounded as the decimal literal is. `powi` would underflow early, as it divides by an overflowing power.
fn power_of_ten(e: i32) -> f64 {
    10f64.powf(f64::from(e))
}

fn plain_power(e: i32) -> String {
    format!("{:.*}", (-e).max(0) as usize, power_of_ten(e))
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// An integer in superscript characters.
pub(super) fn superscript(n: i32) -> String {
    let digit = |c: char| match c.to_digit(10) {
        Some(d) => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][d as usize],
        None => '⁻',
    };
    n.to_string().chars().map(digit).collect()
}
