//! The shop's site: a directory of pages, pictures and code, with what makes directories hard to keep.

use super::random::Random;
use super::words;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files in one directory of pages or pictures.
const TOGETHER: u64 = 100;
/// Files that there are once, before the pages and pictures.
const SINGLE: u64 = 6;
const EMPTY: [&str; 3] = ["uploads", "cache/thumbnails", "logs/2025"];
const LINKS: [(&str, &str); 3] =
    [("home.html", "index.html"), ("images/latest", "000"), ("assets/old-theme.css", "../../theme/gone.css")];

/// A file of the site.
struct Made {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

/// What was done to a site.
#[derive(Debug)]
pub(super) struct SiteDamage {
    pub(super) removed: u64,
    pub(super) overwritten: u64,
}

/// Makes the site of a seed, with so many files.
pub(super) fn make(root: &Path, seed: u64, files: u64) -> io::Result<()> {
    let mut made = vec![root.to_path_buf()];
    for directory in EMPTY {
        directories(root, directory, &mut made)?;
    }
    for number in 0..files {
        let Made { path, mode, content } = file(seed, number);
        if let Some((parent, _)) = path.rsplit_once('/') {
            directories(root, parent, &mut made)?;
        }
        let path = root.join(path);
        fs::write(&path, content)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        File::open(&path)?.set_modified(time(seed, "file", number))?;
    }
    for (link, target) in LINKS {
        if let Some((parent, _)) = link.rsplit_once('/') {
            directories(root, parent, &mut made)?;
        }
        symlink(target, root.join(link))?;
    }
    // A directory's time changes with what is made in it, so it is set last.
    for (number, directory) in (0..).zip(&made) {
        fs::set_permissions(directory, Permissions::from_mode(if number % 5 == 4 { 0o750 } else { 0o755 }))?;
        File::open(directory)?.set_modified(time(seed, "directory", number))?;
    }
    Ok(())
}

/// Makes a directory and those above it, and notes the new ones.
fn directories(root: &Path, path: &str, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut directory = root.to_path_buf();
    for part in path.split('/') {
        directory.push(part);
        match fs::create_dir(&directory) {
            Ok(()) => made.push(directory.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn file(seed: u64, number: u64) -> Made {
    let random = &mut Random::of(seed, "file", number);
    let (path, mode, content) = match number {
        0 => ("index.html".to_owned(), 0o644, page(random, "The shop", 12)),
        1 => ("robots.txt".to_owned(), 0o644, b"User-agent: *\nDisallow: /cart\n".to_vec()),
        2 => (
            "config/settings.json".to_owned(),
            0o600,
            b"{\"currency\": \"EUR\", \"theme\": \"light\"}\n".to_vec(),
        ),
        3 => ("bin/deploy.sh".to_owned(), 0o755, b"#!/bin/sh\nexec rsync -a public/ \"$1\"\n".to_vec()),
        4 => ("news/Grüße aus Zürich – 20 % Rabatt ☀.html".to_owned(), 0o644, page(random, "Grüße", 8)),
        5 => ("media/workshop.mp4".to_owned(), 0o644, random.bytes(3 << 20)),
        _ => of_many(random, seed, number - SINGLE),
    };
    Made { path, mode, content }
}

fn of_many(random: &mut Random, seed: u64, number: u64) -> (String, u32, Vec<u8>) {
    let group = number / TOGETHER;
    match number % 25 {
        0 => (format!("assets/css/part-{number:05}.css"), 0o644, style(random)),
        1 => (format!("assets/js/part-{number:05}.js"), 0o644, script(random)),
        n if n % 2 == 0 => {
            let title = format!("{} {}", random.pick(&words::MATERIALS), random.pick(&words::THINGS));
            let paragraphs = random.within(6, 30);
            (format!("products/{group:03}/{number:06}.html"), 0o644, page(random, &title, paragraphs))
        }
        // Every now and then a product has no picture of its own, but one of a few others.
        n => {
            let picture = if n == 3 {
                Random::of(seed, "stand-in", number % 4)
            } else {
                Random::of(seed, "picture", number)
            };
            (format!("images/{group:03}/{number:06}.jpg"), 0o644, jpeg(picture))
        }
    }
}

/// Bytes that do not compress, as those of a picture.
fn jpeg(mut random: Random) -> Vec<u8> {
    let length = usize::try_from(random.within(6_000, 48_000)).unwrap_or(0);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
    bytes.extend(random.bytes(length));
    bytes
}

fn page(random: &mut Random, title: &str, paragraphs: u64) -> Vec<u8> {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
         <link rel=\"stylesheet\" href=\"/assets/css/part-00000.css\"></head>\n<body>\n<h1>{title}</h1>\n"
    );
    for _ in 0..paragraphs {
        let sentences = random.within(2, 5);
        html.push_str("<p>");
        html.push_str(&words::text(random, sentences));
        html.push_str("</p>\n");
    }
    html.push_str("</body>\n</html>\n");
    html.into_bytes()
}

fn style(random: &mut Random) -> Vec<u8> {
    let mut css = String::new();
    for _ in 0..random.within(60, 300) {
        let (class, colour) = (random.pick(&words::THINGS).to_lowercase(), random.below(1 << 24));
        // Writing into a string does not fail.
        let _ = writeln!(css, ".{class} {{ color: #{colour:06x}; margin: {}px; }}", random.below(64));
    }
    css.into_bytes()
}

fn script(random: &mut Random) -> Vec<u8> {
    let mut js = String::from("\"use strict\";\n");
    for at in 0..random.within(40, 250) {
        let thing = random.pick(&words::THINGS).to_lowercase();
        let _ =
            writeln!(js, "export function {thing}{at}(count) {{ return count * {}; }}", random.below(10_000));
    }
    js.into_bytes()
}

/// Some time of 2025, to the nanosecond.
fn time(seed: u64, kind: &str, number: u64) -> SystemTime {
    let mut random = Random::of(seed, kind, number + (1 << 40));
    let since = Duration::new(1_735_689_600 + random.below(31_000_000), 0);
    SystemTime::UNIX_EPOCH + since + Duration::from_nanos(random.below(1_000_000_000))
}

/// Removes some files of the site, and writes into others.
pub(super) fn damage(root: &Path, seed: u64, files: u64) -> io::Result<SiteDamage> {
    let mut damage = SiteDamage { removed: 0, overwritten: 0 };
    for number in 0..files {
        let path = || root.join(file(seed, number).path);
        match number % 10 {
            0 => {
                fs::write(path(), "<h1>Under new management</h1>\n")?;
                damage.overwritten += 1;
            }
            5 | 8 => {
                fs::remove_file(path())?;
                damage.removed += 1;
            }
            _ => {}
        }
    }
    for directory in EMPTY {
        fs::remove_dir(root.join(directory))?;
    }
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::tree::snapshot;
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_site() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, seed) in [("one", 1), ("again", 1), ("other", 2)] {
            fs::create_dir(at(name)).unwrap();
            make(&at(name), seed, 120).unwrap();
        }
        let one = snapshot(&at("one")).unwrap();
        let same = compare(&one, &snapshot(&at("again")).unwrap());
        assert_eq!((same.equal, same.named("site")), (120, Vec::new()));
        let other = compare(&one, &snapshot(&at("other")).unwrap());
        assert_eq!((other.equal, other.summary().as_str()), (0, "120 changed"));
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), 3, 200).unwrap();
        let before = snapshot(dir.path()).unwrap();
        let damage = damage(dir.path(), 3, 200).unwrap();
        let delta = compare(&before, &snapshot(dir.path()).unwrap());
        assert_eq!((damage.removed, damage.overwritten), (40, 20));
        assert_eq!((delta.equal, delta.summary().as_str()), (140, "40 missing, 20 changed"));
        assert!(delta.named("site").iter().any(|line| line.ends_with("cache/thumbnails is missing")));
    }
}
