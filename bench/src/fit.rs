//! How something grows.

/// The power with which figures grow over sizes: the slope of the straight line that fits both logarithms best, by least
/// squares. Nothing for fewer than two sizes, or where a figure is not above zero.
pub(crate) fn power(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(size, value)| *size <= 0.0 || *value <= 0.0) {
        return None;
    }
    let logs: Vec<_> = points.iter().map(|(size, value)| (size.ln(), value.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count(logs.len());
    let (across, up) = (mean(|at| at.0), mean(|at| at.1));
    let together: f64 = logs.iter().map(|at| (at.0 - across) * (at.1 - up)).sum();
    let alone: f64 = logs.iter().map(|at| (at.0 - across).powi(2)).sum();
    (alone > 0.0).then(|| together / alone)
}

/// How many times as large the figure of the last size is as that of the first, for every time that the size is.
pub(crate) fn ratio(points: &[(f64, f64)]) -> Option<f64> {
    let ((size, value), (last_size, last_value)) = (*points.first()?, *points.last()?);
    let grown = size > 0.0 && value > 0.0 && last_size > size;
    grown.then(|| (last_value / value) / (last_size / size))
}

#[expect(clippy::cast_precision_loss, reason = "there are few")]
const fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_found() {
        let of = |power: f64| [1.0, 3.0, 10.0, 30.0_f64].map(|size| (size, 7.0 * size.powf(power)));
        for wanted in [0.0, 0.5, 1.0, 2.0] {
            assert!((power(&of(wanted)).unwrap() - wanted).abs() < 1e-9);
        }
        assert_eq!(power(&[]), None);
        assert_eq!(power(&[(1.0, 2.0)]), None);
        assert_eq!(power(&[(1.0, 2.0), (2.0, 0.0)]), None);
    }

    #[test]
    fn growth_is_told_beside_that_of_the_size() {
        assert_eq!(ratio(&[(1.0, 10.0), (2.0, 50.0), (10.0, 20.0)]), Some(0.2));
        assert_eq!(ratio(&[(1.0, 10.0)]), None);
        assert_eq!(ratio(&[]), None);
    }
}
