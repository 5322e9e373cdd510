//! What an idle process holds of its own program.

use std::{fs, io, ops::Range, ptr};

use rustix::mm::{Advice, madvise};

/// Gives back the pages of the program's code, once: most of those that a start touches, and the 16 that the kernel maps
/// around each, are not used again. They stay in the page cache and are mapped again by the next call into them.
/// Answers how many bytes were mapped.
///
/// # Errors
/// The mapping was not found, which is so where there is no `/proc`; or what the kernel said.
pub fn unmap_program() -> io::Result<u64> {
    let code = Code::find(&fs::read_to_string("/proc/self/smaps")?, here().addr())?;
    drop_pages(&code.range)?;
    Ok(code.resident)
}

/// An address in the code of this program.
fn here() -> *const () {
    unmap_program as fn() -> io::Result<u64> as *const ()
}

#[expect(unsafe_code, reason = "the kernel is told which pages to unmap by their addresses")]
fn drop_pages(range: &Range<usize>) -> io::Result<()> {
    // SAFETY: the range is one private mapping of a file, executable, not writable, and without a page that differs from
    // the file ([`Code::find`]): each page that is dropped is read from that file again, with the same bytes.
    unsafe { madvise(ptr::with_exposed_provenance_mut(range.start), range.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

/// The mapping of the program's code.
#[derive(Debug, PartialEq, Eq)]
struct Code {
    range: Range<usize>,
    resident: u64,
}

impl Code {
    /// Finds in the text of `smaps` the mapping with `address`.
    fn find(smaps: &str, address: usize) -> io::Result<Self> {
        let no = |why: &str| io::Error::new(io::ErrorKind::Unsupported, format!("the program's code is {why}"));
        let mut lines = smaps.lines();
        let (range, kind) = lines
            .find_map(|line| {
                let (range, kind) = line.split_once(' ')?;
                let (start, end) = range.split_once('-')?;
                let parse = |text| usize::from_str_radix(text, 16).ok();
                let range = parse(start)?..parse(end)?;
                range.contains(&address).then_some((range, kind))
            })
            .ok_or_else(|| no("not among its mappings"))?;
        if !kind.starts_with("r-xp ") {
            return Err(no("mapped in another way than read-only and private"));
        }
        // The counters of a mapping follow its line.
        let mut counter = |name: &str| {
            let value = lines.find_map(|line| line.strip_prefix(name)).ok_or_else(|| no("without counters"))?;
            let kib = value.trim().strip_suffix(" kB").and_then(|value| value.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).ok_or_else(|| no("without counters"))
        };
        let resident = counter("Rss:")?;
        // A debugger's breakpoints, for instance, which would be lost.
        if counter("Anonymous:")? > 0 {
            return Err(no("changed in memory"));
        }
        Ok(Self { range, resident })
    }
}

#[cfg(test)]
mod tests;
