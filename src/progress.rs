//! Progress bars of one look. They draw on a terminal only; elsewhere they are silent.

use indicatif::{ProgressBar, ProgressStyle};

const BYTES: &str = "{msg:9} {bar:30} {percent:>3} % of {total_bytes}, {eta} left";
const COUNT: &str = "{msg:9} {bar:30} {percent:>3} %, {human_pos} of {human_len}, {eta} left";

const SOME: &str = "{msg:9} {spinner} {human_pos}, {elapsed}";

/// A bar over a number of bytes.
pub(crate) fn bytes(message: &'static str, total: u64) -> ProgressBar {
    bar(BYTES, message, total)
}

/// A bar over a number of things.
pub(crate) fn count(message: &'static str, total: u64) -> ProgressBar {
    bar(COUNT, message, total)
}

/// Over a number of things that is not known.
pub(crate) fn some(message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(SOME).expect("a template that is ours");
    ProgressBar::new_spinner().with_style(style).with_message(message)
}

/// Shows on a bar how much is done, of how much that is known so far.
pub(crate) fn of(bar: &ProgressBar) -> impl FnMut(u64, u64) + Send + use<> {
    let bar = bar.clone();
    move |done, total| {
        bar.set_length(total.max(1));
        bar.set_position(done);
    }
}

fn bar(template: &str, message: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a template that is ours");
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(message)
}
