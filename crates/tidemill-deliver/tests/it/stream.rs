//! Streams of requests that are the same for the same seed, and the rules that the judge is compared with.

use std::f64::consts::TAU;

use tidemill_deliver::judge::{Amount, Better, Kind, MetricState, Sample, Traffic};
use tidemill_stats::sequential::ln_evidence;

/// SplitMix64 (Steele, Lea and Flood 2014): passes the usual batteries, and is the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform above 0 and below 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// How many of `n` happen with chance `p`: exact, by the lengths of the gaps.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 || n == 0 {
            return 0;
        }
        let (ln_miss, mut at, mut hits) = ((-p).ln_1p(), 0.0, 0);
        loop {
            at += (self.uniform().ln() / ln_miss).floor() + 1.0;
            if at > n as f64 {
                return hits;
            }
            hits += 1;
        }
    }
}

/// What requests are like, and how harm changes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum World {
    /// Requests fail with this chance; harm multiplies it by `1 + harm`.
    Failures(f64),
    /// The same, judged by the ratio of the rates as `errors` are.
    Errors(f64),
    /// Normal values of mean 100 and this standard deviation; harm moves the mean by `harm` of it.
    Normal(f64),
    /// Log-normal values of mean 100 and this standard deviation of the logarithm.
    LogNormal(f64),
    /// The same, of which more is better; harm lowers the mean.
    Revenue(f64),
    /// Money: 120 with this chance, 15 three times as often, else nothing; harm raises both chances.
    Cost(f64),
}

impl World {
    pub(crate) fn draw(self, random: &mut Random, n: u64, harm: f64) -> Sample {
        match self {
            Self::Failures(p) | Self::Errors(p) => {
                Sample::Counts { n, events: random.binomial(n, p * (1.0 + harm)) }
            }
            Self::Normal(sd) => sums(n, || 100.0 * (1.0 + harm) + sd * random.normal()),
            Self::LogNormal(sigma) | Self::Revenue(sigma) => {
                let mean = 100.0 * (1.0 + self.sign() * harm);
                sums(n, || mean * (sigma * random.normal() - 0.5 * sigma * sigma).exp())
            }
            Self::Cost(p) => {
                let p = p * (1.0 + harm);
                let dear = random.binomial(n, p);
                let cheap = random.binomial(n - dear, 3.0 * p / (1.0 - p));
                Sample::Values(vec![(0.0, n - dear - cheap), (15.0, cheap), (120.0, dear)])
            }
        }
    }

    /// What a difference of the means is multiplied with to be harm.
    fn sign(self) -> f64 {
        if matches!(self, Self::Revenue(_)) { -1.0 } else { 1.0 }
    }

    /// The mean without harm.
    pub(crate) fn mean(self) -> f64 {
        match self {
            Self::Failures(p) | Self::Errors(p) => p,
            Self::Normal(_) | Self::LogNormal(_) | Self::Revenue(_) => 100.0,
            Self::Cost(p) => p * 120.0 + 3.0 * p * 15.0,
        }
    }
}

fn sums(n: u64, mut draw: impl FnMut() -> f64) -> Sample {
    let (mut sum, mut sumsq) = (0.0, 0.0);
    for _ in 0..n {
        let value = draw();
        sum += value;
        sumsq += value * value;
    }
    Sample::Moments { n, sum, sumsq }
}

/// Harm that is looked for, as a part of the mean, and the judge's metric for it.
pub(crate) fn kind(world: World, effect: f64, margin: Option<f64>) -> Kind {
    let (better, limit) = (Better::Lower, Amount::Relative(margin.unwrap_or(0.0)));
    let (tolerate, reject) =
        if margin.is_some() { (limit, limit) } else { (Amount::Absolute(0.0), Amount::Absolute(0.0)) };
    let effect = Amount::Relative(effect);
    match world {
        World::Failures(_) => Kind::Binary { better, tolerate, reject, effect },
        // Harm up to `tolerate` is none, and a ratio has no limit below it.
        World::Errors(_) => {
            let (tolerate, reject) = match margin {
                Some(margin) => (1.0 + 0.5 * margin, 1.0 + margin),
                None => (1.0, 1.0 + effect.number()),
            };
            Kind::EventRate { tolerate, reject, negligible: None }
        }
        World::Normal(_) | World::LogNormal(_) => Kind::Continuous { better, tolerate, reject, effect },
        World::Revenue(_) => Kind::Continuous { better: Better::Higher, tolerate, reject, effect },
        World::Cost(_) => {
            let limit = margin.unwrap_or(0.0) * world.mean();
            Kind::BoundedMean { better, least: 0.0, most: 120.0, tolerate: limit, reject: limit }
        }
    }
}

/// The first look at which something was decided, and what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) harm: bool,
    pub(crate) looks: u64,
}

/// What the judge and the rules that it is compared with said of one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Race {
    pub(crate) judge: Option<Outcome>,
    pub(crate) reference: Option<Outcome>,
    pub(crate) peeking: bool,
    pub limit_0: bool,
    pub limit_3: bool,
    pub count_5: bool,
}

/// Traffic of one setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) world: World,
    pub(crate) share: f64,
    pub(crate) harm: f64,
    pub(crate) effect: f64,
    pub(crate) margin: Option<f64>,
    pub(crate) alpha: f64,
    pub(crate) batch: u64,
    pub(crate) looks: u64,
}

/// Plays one stream; `to_verdict` ends it when judge and reference have both decided.
pub(crate) fn play(setting: Setting, seed: u64, to_verdict: bool) -> Race {
    let mut random = Random::new(seed);
    let kind = kind(setting.world, setting.effect, setting.margin);
    let mut state = MetricState::new(&kind);
    let mut race = Race::default();
    let (mut baseline, mut candidate) = (Total::default(), Total::default());
    let needed = -setting.alpha.ln();
    let worst = setting.world.mean() * (setting.margin.unwrap_or(0.0) + 2.0 * setting.effect);
    let is_bad = |mean: f64| setting.world.sign() * (mean - setting.world.mean()) > worst;
    let (mut bad_looks, mut failed_measurements, mut window) = (0, 0, (0.0, 0.0));
    for look in 1..=setting.looks {
        let n_c = random.binomial(setting.batch, setting.share);
        let c = setting.world.draw(&mut random, n_c, setting.harm);
        let b = setting.world.draw(&mut random, setting.batch - n_c, 0.0);
        baseline.add(&b);
        candidate.add(&c);
        if race.judge.is_none() {
            state.update(&kind, Traffic { stratum: 0, share: Some(setting.share) }, &c, &b);
            let evidence = state.evidence();
            // Without a margin only harm is looked for, to the end.
            let is_safe = setting.margin.is_some() && evidence.ln_safe >= needed;
            if evidence.ln_harm >= needed || is_safe {
                race.judge = Some(Outcome { harm: evidence.ln_harm >= needed, looks: look });
            }
        }
        if race.reference.is_none() {
            let (d, v) = compare(setting, &candidate, &baseline);
            let tau = setting.effect * baseline.mean();
            if candidate.n >= 100.0 && baseline.n >= 100.0 && enough(setting.world, &candidate, &baseline) {
                if ln_evidence(d, v, tau).unwrap_or(0.0) >= needed {
                    race.reference = Some(Outcome { harm: true, looks: look });
                } else if setting.margin.is_some() && ln_evidence(-d, v, tau).unwrap_or(0.0) >= needed {
                    race.reference = Some(Outcome { harm: false, looks: look });
                }
            }
        }
        let (d, v) = compare(setting, &candidate, &baseline);
        // One-sided at the same level, looked at after every batch from the fifth on.
        race.peeking |= look >= 5 && v > 0.0 && d / v.sqrt() > quantile(setting.alpha);
        let mut now = Total::default();
        now.add(&c);
        window = (window.0 + now.sum, window.1 + now.n);
        if now.n > 0.0 && is_bad(now.mean()) {
            bad_looks += 1;
            race.count_5 |= bad_looks >= 5;
        }
        if look % 5 == 0 {
            failed_measurements += u64::from(window.1 > 0.0 && is_bad(window.0 / window.1));
            race.limit_0 |= failed_measurements > 0;
            race.limit_3 |= failed_measurements > 3;
            window = (0.0, 0.0);
        }
        if to_verdict && race.judge.is_some() && race.reference.is_some() {
            break;
        }
    }
    race
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    n: f64,
    sum: f64,
    sumsq: f64,
}

impl Total {
    fn add(&mut self, sample: &Sample) {
        let (sum, sumsq) = match sample {
            Sample::Counts { events, .. } => (*events as f64, *events as f64),
            Sample::Moments { sum, sumsq, .. } => (*sum, *sumsq),
            Sample::Values(values) => values.iter().fold((0.0, 0.0), |(sum, sumsq), (value, count)| {
                (sum + value * *count as f64, sumsq + value * value * *count as f64)
            }),
        };
        self.n += sample.n() as f64;
        self.sum += sum;
        self.sumsq += sumsq;
    }

    fn mean(&self) -> f64 {
        self.sum / self.n.max(1.0)
    }

    fn variance(&self, share: bool) -> f64 {
        if share {
            let p = (self.sum + 2.0) / (self.n + 4.0);
            p * (1.0 - p) / self.n.max(1.0)
        } else {
            (self.sumsq / self.n.max(1.0) - self.mean().powi(2)).max(0.0) / (self.n - 1.0).max(1.0)
        }
    }
}

fn compare(setting: Setting, candidate: &Total, baseline: &Total) -> (f64, f64) {
    let share = matches!(setting.world, World::Failures(_) | World::Errors(_));
    let sign = setting.world.sign();
    let grown = 1.0 + sign * setting.margin.unwrap_or(0.0);
    let variance = candidate.variance(share) + grown * grown * baseline.variance(share);
    (sign * (candidate.mean() - grown * baseline.mean()), variance)
}

fn enough(world: World, candidate: &Total, baseline: &Total) -> bool {
    !matches!(world, World::Failures(_) | World::Errors(_)) || candidate.sum + baseline.sum >= 10.0
}

/// The upper quantile of the standard normal distribution, for the levels that are used here.
fn quantile(alpha: f64) -> f64 {
    if alpha <= 0.01 { 2.326_347_874 } else { 1.644_853_627 }
}

/// The middle of the looks to a verdict; none where fewer than half were decided.
pub(crate) fn median(mut looks: Vec<Option<u64>>) -> Option<u64> {
    looks.sort_by_key(|looks| looks.unwrap_or(u64::MAX));
    looks[looks.len() / 2]
}
