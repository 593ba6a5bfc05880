//! `/thumbnail [edge]`: a small PNG of the newest picture before the command.
//! Reads: an attachment. Writes: progress. Never: decodes more pixels than [`PIXELS_MAX`], however small the file is.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, ImageReader, ImageResult, Limits};

use super::{Made, Stopped, tell};
use crate::http::App;
use crate::listeners::failure;
use crate::store::jobs::Step;
use crate::store::timeline::Message;

/// Length of the longer edge, if the command does not say.
const EDGE: u32 = 320;
const EDGE_MIN: u32 = 16;
const EDGE_MAX: u32 = 1_024;
/// Longest edge of a picture that is decoded.
const SOURCE_EDGE_MAX: u32 = 12_000;
/// Bytes that decoding may take: 40 million pixels of four bytes.
const PIXELS_MAX: u64 = 40_000_000;

/// Makes the picture.
pub(super) async fn run(
    app: &App,
    room: &str,
    job: &Message,
    argument: &str,
) -> Result<Made, Stopped> {
    let edge = match argument.parse::<u32>() {
        _ if argument.is_empty() => EDGE,
        Ok(edge) if (EDGE_MIN..=EDGE_MAX).contains(&edge) => edge,
        _ => return Err(Stopped::Cannot("bad_size")),
    };
    let picture = app.store.last_picture(room, job.seq).await.map_err(failure)?;
    let Some(picture) = picture else { return Err(Stopped::Cannot("no_picture")) };
    if !tell(app, room, job, &Step::Running(10)).await? {
        return Err(Stopped::Cannot("gone"));
    }
    let place = app.files.place().await?;
    let bytes = app.files.get(&picture.id).await?;
    tell(app, room, job, &Step::Running(50)).await?;
    // Decoding is work for a processor, not for a thread that waits for others.
    let small = tokio::task::spawn_blocking(move || shrink(&bytes, edge)).await;
    drop(place);
    let Ok(Ok(small)) = small else { return Err(Stopped::Cannot("bad_picture")) };
    let stem = picture.name.rsplit_once('.').map_or(picture.name.as_str(), |(stem, _)| stem);
    let stem: String = stem.chars().take(80).collect();
    Ok(Made { name: format!("{stem}-{edge}.png"), bytes: Bytes::from(small) })
}

/// The picture with its longer edge as asked; never larger than it was.
fn shrink(bytes: &[u8], edge: u32) -> ImageResult<Vec<u8>> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SOURCE_EDGE_MAX);
    limits.max_image_height = Some(SOURCE_EDGE_MAX);
    limits.max_alloc = Some(PIXELS_MAX * 4);
    reader.limits(limits);
    let picture = reader.decode()?;
    let small = if picture.width().max(picture.height()) > edge {
        picture.thumbnail(edge, edge)
    } else {
        picture
    };
    let mut made = Cursor::new(Vec::new());
    small.write_to(&mut made, ImageFormat::Png)?;
    Ok(made.into_inner())
}

#[cfg(test)]
mod tests {
    use image::ImageError;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut made = Cursor::new(Vec::new());
        image::DynamicImage::new_rgb8(width, height).write_to(&mut made, ImageFormat::Png).unwrap();
        made.into_inner()
    }

    #[test]
    fn the_longer_edge_counts() {
        let small = shrink(&png(400, 200), 100).unwrap();
        let small = image::load_from_memory(&small).unwrap();
        assert_eq!((small.width(), small.height()), (100, 50));
        let same = image::load_from_memory(&shrink(&png(40, 20), 100).unwrap()).unwrap();
        assert_eq!((same.width(), same.height()), (40, 20));
    }

    #[test]
    fn what_is_no_picture_or_too_large_makes_nothing() {
        assert!(shrink(b"no picture", 100).is_err());
        let refused = |bytes: &[u8]| matches!(shrink(bytes, 100), Err(ImageError::Limits(_)));
        assert!(refused(&png(12_001, 1)));
        // A few bytes that say that they are 11,000 by 11,000 pixels: refused before a byte is made ready for them.
        let mut bomb = png(1, 1);
        bomb[16..24].copy_from_slice(&[0, 0, 0x2a, 0xf8, 0, 0, 0x2a, 0xf8]);
        let sum = crc32(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&sum);
        assert!(refused(&bomb));
    }

    /// As PNG has it.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
            })
        })
    }
}
