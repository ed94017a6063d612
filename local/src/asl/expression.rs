//! What stands in a field whose name ends in `.$`: a path or an intrinsic function.

use super::context::Data;
use super::failure::Failure;
use super::fields::Place;
use super::functions::Function;
use super::names;
use super::paths::Path;
use holdfast_vault::Result;
use serde_json::Value;

/// How deep intrinsic functions may be nested.
const DEPTH: usize = 10;

/// A value that is computed when a state runs.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Path(Path),
    Literal(Value),
    Call(Function, Vec<Expression>),
}

impl Expression {
    /// Reads a path (`$...`) or a call (`States....`).
    pub(super) fn parse(place: &Place, text: &str) -> Result<Self> {
        if text.starts_with('$') {
            return Ok(Self::Path(place.path(text)?));
        }
        if !text.starts_with("States.") {
            return Err(place.error(
                format!("'{text}' is neither a path nor an intrinsic function"),
                "write a path like \"$.a\" or a call like \"States.Format('{}', $.a)\", or drop the '.$' of the name",
            ));
        }
        let mut parser = Parser { place, text, rest: text };
        let call = parser.call(1)?;
        if !parser.rest.is_empty() {
            return Err(parser.error("text follows the closing parenthesis"));
        }
        Ok(call)
    }

    /// The literal string, where it is one.
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn evaluate(&self, field: &str, data: &Data<'_>) -> Result<Value, Failure> {
        match self {
            Self::Path(path) => path.get(field, data),
            Self::Literal(value) => Ok(value.clone()),
            Self::Call(function, arguments) => {
                let values = arguments
                    .iter()
                    .map(|argument| argument.evaluate(field, data))
                    .collect::<Result<_, _>>()?;
                function.call(values, &mut || data.context.random()).map_err(|problem| {
                    let cause = format!("{} of the field '{field}': {problem}", function.name());
                    Failure::new(names::INTRINSIC, cause)
                })
            }
        }
    }
}

struct Parser<'a> {
    place: &'a Place,
    text: &'a str,
    rest: &'a str,
}

impl Parser<'_> {
    fn error(&self, problem: &str) -> holdfast_vault::Error {
        self.place.error(
            format!("'{}': {problem}", self.text),
            "a call is States.Name(argument, ...); an argument is a path, 'text', a number, true, false, null or a call",
        )
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn call(&mut self, depth: usize) -> Result<Expression> {
        if depth > DEPTH {
            return Err(self.error("calls are nested more than ten deep"));
        }
        let Some((name, rest)) = self.rest.split_once('(') else {
            return Err(self.error("a parenthesis must follow the name"));
        };
        let Some(function) = Function::named(name) else {
            return Err(self.place.error(
                format!("'{name}' is no supported intrinsic function"),
                format!("supported: {}", Function::list()),
            ));
        };
        self.rest = rest;
        let arguments = self.arguments(depth, function)?;
        if let Err(problem) = function.check(&arguments) {
            return Err(self.error(&format!("{name} {problem}")));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn arguments(&mut self, depth: usize, function: Function) -> Result<Vec<Expression>> {
        let mut arguments = Vec::new();
        self.skip_spaces();
        if let Some(rest) = self.rest.strip_prefix(')') {
            self.rest = rest;
            return Ok(arguments);
        }
        loop {
            self.skip_spaces();
            let template = function == Function::Format && arguments.is_empty();
            arguments.push(self.argument(depth, template)?);
            self.skip_spaces();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                return Ok(arguments);
            } else {
                return Err(self.error("a comma or a closing parenthesis is missing"));
            }
        }
    }

    fn argument(&mut self, depth: usize, template: bool) -> Result<Expression> {
        if self.rest.starts_with("States.") {
            return self.call(depth + 1);
        }
        if let Some(rest) = self.rest.strip_prefix('\'') {
            self.rest = rest;
            return self.quoted(template);
        }
        let path = self.rest.starts_with('$');
        let end = if path { path_end(self.rest) } else { self.rest.find([',', ')', ' ']) };
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if path {
            return Ok(Expression::Path(self.place.path(word)?));
        }
        match serde_json::from_str::<Value>(word) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Ok(Expression::Literal(value)),
            _ => Err(self.error(&format!("'{word}' is no argument"))),
        }
    }

    /// A string up to its closing quote. In a template of `States.Format` escapes stay: braces mean something there.
    fn quoted(&mut self, template: bool) -> Result<Expression> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Expression::Literal(Value::String(value)));
                }
                '\\' => match chars.next() {
                    Some((_, '\'')) => value.push('\''),
                    Some((_, c @ ('\\' | '{' | '}'))) if template => value.extend(['\\', c]),
                    Some((_, c @ ('\\' | '{' | '}'))) => value.push(c),
                    _ => return Err(self.error("after '\\' comes a quote, a brace or another '\\'")),
                },
                c => value.push(c),
            }
        }
        Err(self.error("a quote is not closed"))
    }
}

/// Where a path in an argument list ends: at a comma, space or parenthesis that is not inside brackets.
fn path_end(text: &str) -> Option<usize> {
    let (mut bracket, mut quote, mut escaped) = (false, false, false);
    text.char_indices().find_map(|(at, c)| {
        if escaped {
            escaped = false;
            return None;
        }
        match c {
            '\\' if quote => escaped = true,
            '\'' if bracket => quote = !quote,
            '[' if !quote => bracket = true,
            ']' if !quote => bracket = false,
            ',' | ')' | ' ' if !bracket => return Some(at),
            _ => {}
        }
        None
    })
}
