//! The one kind of Python literal that a header is: a dictionary of a string, a boolean and a tuple. Nothing is evaluated.

use super::header::{CONVERT, MAX_AXES};
use crate::files::quoted;

/// What a header says; a key that it lacks is `None`.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) descr: Option<&'a str>,
    pub(super) fortran_order: Option<bool>,
    pub(super) shape: Option<Vec<u64>>,
}

/// Reads the one kind of Python literal that a header is.
pub(super) struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Parser { text, rest: text }
    }

    /// dictionary := '{' [ entry { ',' entry } [ ',' ] ] '}' and then only white space
    pub(super) fn dictionary(mut self) -> Result<Fields<'a>, String> {
        let mut fields = Fields::default();
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.expect(":")?;
            let twice = match key {
                "descr" if self.looks_at(['[', '(']) => {
                    return Err(format!("its values are a structure of several fields; save one field at a time, or {CONVERT}"));
                }
                "descr" => fields.descr.replace(self.string()?).is_some(),
                "fortran_order" => fields.fortran_order.replace(self.boolean()?).is_some(),
                "shape" => fields.shape.replace(self.extents()?).is_some(),
                _ => {
                    return Err(format!("its header has the unknown key {}; write it again", quoted(key)));
                }
            };
            if twice {
                return Err(format!("its header has the key {} twice; write it again", quoted(key)));
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        self.skip_space();
        if self.rest.is_empty() { Ok(fields) } else { Err(self.unexpected("nothing more")) }
    }

    /// A string without escapes, which no number type needs.
    fn string(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let quote = if self.rest.starts_with('\'') { "'" } else { "\"" };
        self.expect(quote)?;
        let Some((string, rest)) = self.rest.split_once(quote) else {
            return Err(self.unexpected("a closing quote"));
        };
        self.rest = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.accept("True") {
            return Ok(true);
        }
        if self.accept("False") {
            return Ok(false);
        }
        Err(self.unexpected("True or False"))
    }

    /// extents := '(' [ number { ',' number } [ ',' ] ] ')', but '(3)' is a number and no tuple
    fn extents(&mut self) -> Result<Vec<u64>, String> {
        let mut extents = Vec::new();
        let mut comma = true;
        self.expect("(")?;
        while !self.accept(")") {
            if !comma {
                return Err(self.unexpected("a comma"));
            }
            extents.push(self.extent()?);
            if extents.len() > MAX_AXES {
                return Err(format!("its header has more than {MAX_AXES} axes; write it again"));
            }
            comma = self.accept(",");
        }
        if extents.len() == 1 && !comma {
            return Err(self.unexpected("a comma after the only extent"));
        }
        Ok(extents)
    }

    fn extent(&mut self) -> Result<u64, String> {
        self.skip_space();
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            if self.looks_at(['-']) {
                return Err("its header has a negative extent; write it again".to_string());
            }
            return Err(self.unexpected("a number"));
        }
        // Python 2 wrote long integers as 3L.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().map_err(|_| format!("its header has the absurd extent {}; write it again", quoted(digits)))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn looks_at<const N: usize>(&mut self, chars: [char; N]) -> bool {
        self.skip_space();
        self.rest.starts_with(chars)
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.accept(token) { Ok(()) } else { Err(self.unexpected(&format!("{token:?}"))) }
    }

    fn unexpected(&self, wanted: &str) -> String {
        let place = self.text.len() - self.rest.len();
        format!("its header should have {wanted} at character {place}, before {}; write it again", quoted(self.rest))
    }
}
