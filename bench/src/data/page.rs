//! The text files of a site.

use super::draw::Draw;
use super::text::{Words, moment};
use std::fmt::{self, Write as _};

/// What a text file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Html,
    Css,
    Js,
    Csv,
}

/// More than any file grows beyond its wanted length.
const SLACK: usize = 4096;
const HEAD: &str = concat!(
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<link rel=\"stylesheet\" href=\"/assets/main.css\"><script defer src=\"/assets/app.js\"></script><title>",
);
const TOP: &str = concat!(
    "</title></head>\n<body class=\"page\"><header class=\"site-header\"><nav>",
    "<a href=\"/\">Home</a><a href=\"/shop\">Shop</a><a href=\"/blog\">Blog</a><a href=\"/about\">About</a>",
    "</nav></header>\n<main>\n",
);
const FOOT: &str = concat!(
    "</main>\n<footer class=\"site-footer\"><p>&copy; 2025 Example. All rights reserved.</p></footer>",
    "</body></html>\n",
);
const DISPLAYS: &[&str] = &["flex", "grid", "block", "none"];

impl Kind {
    /// The kind of so many tenths of all text files.
    pub(super) const fn of_lot(lot: u64) -> Self {
        match lot {
            0..6 => Self::Html,
            6 => Self::Css,
            7 | 8 => Self::Js,
            _ => Self::Csv,
        }
    }

    /// The directory that files of the kind are in.
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Html => "pages",
            Self::Css => "assets/css",
            Self::Js => "assets/js",
            Self::Csv => "data",
        }
    }

    /// The end of a file's name.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Css => "css",
            Self::Js => "js",
            Self::Csv => "csv",
        }
    }

    const fn variant(self) -> u64 {
        match self {
            Self::Html => 0,
            Self::Css => 1,
            Self::Js => 2,
            Self::Csv => 3,
        }
    }
}

/// The content of a file, by its number; of at least so many bytes.
///
/// # Errors
/// None: text in memory can always be written.
pub(super) fn write(kind: Kind, number: u64, length: usize, words: &Words) -> Result<String, fmt::Error> {
    let mut draw = Draw::of(5000, number, kind.variant());
    let mut out = String::with_capacity(length + SLACK);
    if kind == Kind::Html {
        out.push_str(HEAD);
        words.prose(&mut draw, 6, &mut out);
        out.push_str(TOP);
    }
    while out.len() < length {
        match kind {
            Kind::Html => element(&mut draw, words, &mut out)?,
            Kind::Css => rule(&mut draw, words, &mut out)?,
            Kind::Js => function(&mut draw, words, &mut out)?,
            Kind::Csv => row(&mut draw, words, &mut out)?,
        }
    }
    if kind == Kind::Html {
        out.push_str(FOOT);
    }
    Ok(out)
}

fn element(draw: &mut Draw, words: &Words, out: &mut String) -> fmt::Result {
    match draw.below(6) {
        0 => {
            out.push_str("  <h2 class=\"title\">");
            words.prose(draw, 5, out);
            out.push_str("</h2>\n");
        }
        1 => {
            let image = super::draw::low(draw.bits());
            let (width, height) = (draw.within(200, 1600), draw.within(200, 1200));
            write!(out, "  <figure><img loading=\"lazy\" src=\"/media/{image:08x}.jpg\"")?;
            write!(out, " width=\"{width}\" height=\"{height}\" alt=\"")?;
            words.prose(draw, 4, out);
            out.push_str("\"></figure>\n");
        }
        2 => {
            out.push_str("  <ul class=\"list\">");
            for _ in 0..draw.within(2, 7) {
                write!(out, "<li><a href=\"/p/{}\">", draw.below(20_000))?;
                words.prose(draw, 3, out);
                out.push_str("</a></li>");
            }
            out.push_str("</ul>\n");
        }
        _ => {
            out.push_str("  <p>");
            words.passage(draw, 30, 110, out);
            out.push_str("</p>\n");
        }
    }
    Ok(())
}

fn rule(draw: &mut Draw, words: &Words, out: &mut String) -> fmt::Result {
    let (block, part) = (words.common(draw), words.common(draw));
    let (color, margins) = (draw.below(1 << 24), [draw.below(64), draw.below(64)]);
    let (padding, display) = (draw.below(6), draw.pick(DISPLAYS));
    writeln!(out, ".{block}-{part} {{\n  color: #{color:06x};")?;
    writeln!(out, "  margin: {}px {}px;\n  padding: {padding}rem;", margins[0], margins[1])?;
    writeln!(out, "  display: {display};\n}}")
}

fn function(draw: &mut Draw, words: &Words, out: &mut String) -> fmt::Result {
    let (verb, noun, given) = (words.common(draw), words.common(draw), words.common(draw));
    let (suffix, fallback, most) = (draw.below(100), draw.below(5000), draw.below(900));
    writeln!(out, "export function {verb}_{noun}({given}, options = {{}}) {{")?;
    writeln!(out, "  const {noun}{suffix} = options.{verb} ?? {fallback};")?;
    write!(out, "  if (!{given} || {given}.length > {most}) {{\n    throw new Error(\"")?;
    words.prose(draw, 6, out);
    writeln!(out, "\");\n  }}")?;
    let factor = draw.below(1000);
    writeln!(out, "  return {given}.map((x) => x.{verb} * {factor}).filter(Boolean);\n}}\n")
}

fn row(draw: &mut Draw, words: &Words, out: &mut String) -> fmt::Result {
    write!(out, "{},", draw.below(1_000_000))?;
    moment(draw, out)?;
    out.push_str(",\"");
    words.prose(draw, 7, out);
    let (units, cents) = (draw.below(1000), draw.below(100));
    writeln!(out, "\",{units}.{cents:02}")
}
