//! Convolutions against their scalar meaning: every attribute, odd sizes, strided operands.

use super::*;
use crate::kernel::Kernel;
use crate::kernel::testing::{Case, access, strided};
use crate::point::{PointFn, PointInstr};
use crate::types::Layout;

fn check(case: &Case, tolerance: f64) {
    let prepared = match &case.kernel {
        Kernel::Conv { dtype, window, groups, epilogue, .. } => {
            PreparedConv::prepare(*dtype, window, *groups, epilogue, &case.reads, &case.writes, 3)
        }
        Kernel::ConvTranspose { dtype, window, groups, epilogue } => {
            PreparedConv::prepare_transpose(*dtype, window, *groups, epilogue, &case.reads, &case.writes, 3)
        }
        _ => panic!("a convolution"),
    };
    let prepared = prepared.unwrap();
    case.check(&|isa, call| prepared.run(isa, call), prepared.workspace_bytes(), tolerance);
}

/// Numbers of one convolution: batch, channels in and out, groups, and for each spatial axis extent, kernel, stride, pads,
/// dilation.
struct Numbers<'a> {
    n: usize,
    channels: [usize; 2],
    groups: usize,
    axes: &'a [[usize; 6]],
}

impl Numbers<'_> {
    fn window(&self) -> Window {
        let list = |i: usize| self.axes.iter().map(|axis| axis[i]).collect();
        Window { kernel: list(1), strides: list(2), pads_begin: list(3), pads_end: list(4), dilations: list(5) }
    }

    fn shapes(&self) -> [Vec<usize>; 3] {
        let [c, oc] = self.channels;
        let mut shapes = [vec![self.n, c], vec![oc, c / self.groups], vec![self.n, oc]];
        for &[extent, kernel, stride, begin, end, dilation] in self.axes {
            shapes[0].push(extent);
            shapes[1].push(kernel);
            shapes[2].push((extent + begin + end - (kernel - 1) * dilation - 1) / stride + 1);
        }
        shapes
    }

    fn conv(&self, dtype: DType, epilogue: Program) -> Case {
        let [x, w, out] = self.shapes().map(|shape| access(dtype, Layout::dense(&shape)));
        let kernel = Kernel::Conv { dtype, window: self.window(), groups: self.groups, packed: false, epilogue };
        Case::new(kernel, vec![x, w], out)
    }

    fn transpose(&self, extra: usize) -> Case {
        let [c, oc] = self.channels;
        let (mut x, mut w, mut out) = (vec![self.n, c], vec![c, oc / self.groups], vec![self.n, oc]);
        for &[extent, kernel, stride, begin, end, dilation] in self.axes {
            x.push(extent);
            w.push(kernel);
            out.push((extent - 1) * stride + (kernel - 1) * dilation + 1 + extra - begin - end);
        }
        let [x, w, out] = [x, w, out].map(|shape| access(DType::F32, Layout::dense(&shape)));
        let epilogue = Program::identity(DType::F32);
        let kernel = Kernel::ConvTranspose { dtype: DType::F32, window: self.window(), groups: self.groups, epilogue };
        Case::new(kernel, vec![x, w], out)
    }
}

fn plain(n: usize, channels: [usize; 2], groups: usize, axes: &[[usize; 6]]) {
    let numbers = Numbers { n, channels, groups, axes };
    check(&numbers.conv(DType::F32, Program::identity(DType::F32)), 2e-5);
}

#[test]
fn windows_in_two_dimensions() {
    plain(1, [3, 8], 1, &[[9, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]);
    plain(2, [4, 7], 1, &[[12, 3, 2, 1, 1, 1], [17, 3, 2, 1, 0, 1]]);
    plain(1, [5, 13], 1, &[[20, 5, 1, 2, 2, 1], [33, 5, 1, 2, 2, 1]]);
    plain(1, [2, 3], 1, &[[11, 3, 1, 2, 2, 2], [15, 3, 1, 2, 2, 2]]);
    plain(1, [3, 6], 1, &[[23, 7, 2, 3, 3, 1], [30, 7, 2, 3, 3, 1]]);
    plain(1, [2, 2], 1, &[[4, 4, 1, 5, 5, 1], [3, 2, 3, 4, 6, 1]]);
    plain(3, [70, 40], 1, &[[7, 3, 1, 1, 1, 1], [7, 3, 1, 1, 1, 1]]);
}

#[test]
fn large_windows_take_passes() {
    plain(1, [200, 30], 1, &[[6, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]);
}

#[test]
fn pointwise() {
    plain(2, [20, 33], 1, &[[7, 1, 1, 0, 0, 1], [7, 1, 1, 0, 0, 1]]);
    plain(1, [20, 33], 1, &[[14, 1, 2, 0, 0, 1], [9, 1, 2, 0, 0, 1]]);
    plain(1, [8, 4], 2, &[[5, 1, 1, 0, 0, 1], [9, 1, 1, 0, 0, 1]]);
    plain(1, [900, 40], 1, &[[5, 1, 1, 0, 0, 1], [9, 1, 1, 0, 0, 1]]);
}

#[test]
fn other_numbers_of_axes() {
    plain(2, [4, 6], 1, &[[21, 3, 2, 1, 1, 1]]);
    plain(2, [4, 6], 2, &[[5, 2, 1, 0, 1, 1], [6, 3, 2, 1, 1, 1], [9, 3, 1, 1, 1, 2]]);
    plain(1, [3, 3], 3, &[[4, 2, 1, 0, 0, 1], [5, 2, 1, 1, 0, 1], [6, 3, 1, 1, 1, 1]]);
    plain(3, [4, 6], 2, &[]);
    plain(1, [2, 3], 1, &[[3, 2, 1, 0, 0, 1], [3, 2, 1, 0, 1, 1], [4, 2, 1, 0, 0, 1], [5, 2, 1, 1, 0, 1]]);
}

/// Windows that overlap: panels by row and joined, columns in pieces, channels in passes, several tiles of rows.
#[test]
fn windows_read_where_they_lie() {
    plain(2, [3, 13], 1, &[[14, 3, 1, 1, 1, 1], [14, 3, 1, 1, 1, 1]]);
    plain(1, [6, 14], 2, &[[30, 3, 1, 1, 1, 1], [32, 3, 1, 1, 1, 1]]);
    plain(1, [3, 7], 1, &[[9, 3, 1, 1, 1, 1], [300, 3, 1, 1, 1, 1]]);
    plain(1, [2, 5], 1, &[[31, 7, 2, 3, 3, 1], [224, 7, 2, 3, 3, 1]]);
    plain(1, [4, 9], 1, &[[24, 3, 2, 1, 0, 2], [50, 3, 2, 2, 1, 3]]);
    plain(1, [4, 9], 1, &[[20, 1, 1, 0, 0, 1], [33, 5, 1, 2, 2, 1]]);
    plain(1, [3, 5], 1, &[[40, 3, 3, 1, 1, 1], [48, 2, 1, 0, 0, 1]]);
    plain(2, [5, 8], 1, &[[700, 9, 1, 4, 4, 1]]);
    plain(1, [150, 20], 1, &[[28, 3, 1, 1, 1, 1], [28, 3, 1, 1, 1, 1]]);
    plain(1, [40, 200], 1, &[[10, 3, 1, 1, 1, 1], [10, 3, 1, 1, 1, 1]]);
}

/// What the other tests mean to run is what runs.
#[test]
fn forms_are_chosen() {
    let form = |channels: [usize; 2], groups: usize, axes: &[[usize; 6]]| {
        let case = Numbers { n: 1, channels, groups, axes }.conv(DType::F32, Program::identity(DType::F32));
        let Kernel::Conv { dtype, window, groups, epilogue, .. } = &case.kernel else { panic!("a convolution") };
        let prepared = PreparedConv::prepare(*dtype, window, *groups, epilogue, &case.reads, &case.writes, 1).unwrap();
        match &prepared.form {
            Form::Depthwise(depthwise) if depthwise.is_flat() => "flat",
            Form::Depthwise(_) => "bands",
            Form::Phases(phases) => match &phases[0].core {
                Core::Direct(direct) if direct.in_passes() => "passes",
                Core::Direct(_) => "direct",
                Core::Product(_) => "product",
            },
        }
    };
    let square = |extent: usize, stride: usize| [[extent, 3, stride, 1, 1, 1]; 2];
    assert_eq!(form([64, 64], 1, &square(56, 1)), "direct");
    assert_eq!(form([512, 512], 1, &square(7, 1)), "direct");
    assert_eq!(form([3, 32], 1, &square(224, 2)), "direct");
    assert_eq!(form([400, 15], 1, &[[17, 3, 1, 1, 1, 1], [16, 3, 1, 1, 1, 1]]), "passes");
    assert_eq!(form([64, 64], 1, &square(14, 2)), "product");
    assert_eq!(form([64, 64], 1, &[[14, 1, 1, 0, 0, 1]; 2]), "product");
    assert_eq!(form([64, 64], 64, &square(14, 1)), "flat");
    assert_eq!(form([64, 64], 64, &square(14, 2)), "bands");
    assert_eq!(form([64, 64], 64, &square(56, 1)), "bands");
}

#[test]
fn channels_in_passes() {
    // The bands of all channels are too many for the cache, whatever the height.
    plain(1, [400, 15], 1, &[[17, 3, 1, 1, 1, 1], [16, 3, 1, 1, 1, 1]]);
    plain(2, [330, 110], 1, &[[7, 5, 1, 2, 2, 1], [20, 5, 1, 2, 2, 1]]);
}

#[test]
fn depthwise_in_bands() {
    plain(1, [3, 3], 3, &[[40, 3, 1, 1, 1, 1], [41, 3, 1, 1, 1, 1]]);
    plain(1, [2, 2], 2, &[[130, 3, 1, 1, 1, 1], [70, 3, 1, 1, 1, 1]]);
    plain(1, [2, 4], 2, &[[115, 3, 2, 1, 1, 1], [113, 3, 2, 1, 1, 1]]);
    plain(1, [2, 2], 2, &[[61, 4, 2, 0, 0, 3], [64, 5, 2, 3, 3, 2]]);
    plain(1, [2, 2], 2, &[[61, 4, 3, 0, 0, 1], [64, 5, 3, 3, 3, 2]]);
}

#[test]
fn depthwise_of_small_planes() {
    plain(2, [40, 40], 40, &[[7, 3, 1, 1, 1, 1], [7, 3, 1, 1, 1, 1]]);
    plain(1, [3, 6], 3, &[[14, 5, 1, 4, 4, 2], [14, 5, 1, 4, 4, 2]]);
    plain(1, [3, 3], 3, &[[5, 3, 1, 0, 1, 1], [9, 3, 1, 2, 0, 1]]);
    plain(1, [3, 3], 3, &[[3, 3, 1, 6, 5, 1], [2, 5, 1, 0, 4, 1]]);
    plain(1, [3, 3], 3, &[[6, 2, 1, 0, 0, 2], [1, 3, 1, 1, 1, 1]]);
    plain(1, [3, 3], 3, &[[19, 7, 1, 3, 3, 1]]);
}

#[test]
fn depthwise() {
    for width in [5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 70] {
        plain(1, [5, 5], 5, &[[9, 3, 1, 1, 1, 1], [width, 3, 1, 1, 1, 1]]);
        plain(2, [3, 6], 3, &[[11, 3, 2, 1, 1, 1], [width, 3, 2, 0, 1, 1]]);
        plain(1, [4, 4], 4, &[[14, 5, 3, 2, 2, 1], [width, 2, 1, 3, 0, 2]]);
        plain(
            2,
            [3, 3],
            3,
            &[[width, 4, 3, 2, 1, 3]].map(|mut axis| {
                axis[0] += 10;
                axis
            }),
        );
    }
    plain(1, [40, 40], 40, &[[60, 3, 1, 1, 1, 1], [170, 3, 1, 1, 1, 1]]);
    plain(1, [2, 2], 2, &[[3, 9, 1, 8, 8, 1], [2, 9, 1, 8, 8, 1]]);
}

#[test]
fn half_precision() {
    let axes = [[9, 3, 1, 1, 1, 1], [20, 3, 1, 1, 1, 1]];
    for (dtype, tolerance) in [(DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        for groups in [1, 4] {
            let numbers = Numbers { n: 1, channels: [4, 4], groups, axes: &axes };
            check(&numbers.conv(dtype, Program::identity(dtype)), tolerance);
        }
    }
}

/// `relu(sum + bias) * scale + residual`, and a program that is no chain.
fn programs() -> [Program; 2] {
    let instr = |function: PointFn, args: [u16; 3]| PointInstr { function, args };
    let chain = vec![instr(PointFn::Add, [0, 1, 0]), instr(PointFn::Relu, [3, 0, 0]), instr(PointFn::Add, [4, 2, 0])];
    let other = vec![instr(PointFn::Mul, [0, 0, 0]), instr(PointFn::Add, [3, 1, 0]), instr(PointFn::Sub, [4, 2, 0])];
    [(chain, 5), (other, 5)].map(|(code, last)| Program { inputs: vec![DType::F32; 3], code, outputs: vec![last] })
}

fn with_extras(mut case: Case, out: Layout, tied: bool) -> Case {
    let shape = out.shape.clone();
    let mut bias = vec![0; shape.len()];
    bias[1] = 1;
    let residual = if tied { out.clone() } else { Layout::dense(&shape) };
    case.reads.push(access(DType::F32, strided(2, &shape, &bias)));
    case.reads.push(access(DType::F32, residual));
    case.given = vec![None; 4];
    case.tied = if tied { vec![3] } else { vec![] };
    case.writes[0].access.layout = out;
    case
}

#[test]
fn epilogues_into_strided_regions() {
    for groups in [1, 2, 4] {
        let numbers = Numbers { n: 2, channels: [4, 4], groups, axes: &[[9, 3, 1, 1, 1, 1], [19, 3, 1, 1, 1, 1]] };
        let shape = [2, 4, 9, 19];
        let outs =
            [Layout::dense(&shape), strided(41, &shape, &[8000, 1000, 25, 1]), strided(0, &shape, &[684, 171, 1, 9])];
        for out in outs {
            for program in programs() {
                for tied in [false, true] {
                    let case = with_extras(numbers.conv(DType::F32, program.clone()), out.clone(), tied);
                    check(&case, 2e-5);
                }
            }
        }
    }
}

#[test]
fn strided_inputs_and_weights() {
    for groups in [1, 3] {
        let numbers = Numbers { n: 1, channels: [3, 6], groups, axes: &[[8, 3, 1, 1, 1, 1], [18, 3, 2, 1, 1, 1]] };
        let mut case = numbers.conv(DType::F32, Program::identity(DType::F32));
        case.reads[0].layout = strided(0, &[1, 3, 8, 18], &[0, 1, 54, 3]);
        check(&case, 2e-5);
        let channels = 3 / groups;
        case.reads[1].layout = strided(0, &[6, channels, 3, 3], &[1, 54, 6, 18]);
        check(&case, 2e-5);
        case.reads[0].layout = strided(17 + 18 * 7, &[1, 3, 8, 18], &[0, 144, -18, -1]);
        check(&case, 2e-5);
    }
}

#[test]
fn transposed() {
    type Row<'a> = (usize, [usize; 2], usize, &'a [[usize; 6]], usize);
    let cases: [Row; 9] = [
        (1, [5, 4], 1, &[[6, 2, 2, 0, 0, 1], [7, 2, 2, 0, 0, 1]], 0),
        (2, [6, 4], 2, &[[3, 3, 3, 0, 0, 1], [20, 2, 2, 0, 0, 1]], 0),
        (1, [3, 4], 1, &[[6, 3, 2, 1, 1, 1], [7, 3, 2, 1, 0, 1]], 1),
        (1, [3, 4], 1, &[[6, 4, 2, 1, 1, 1], [17, 4, 2, 1, 1, 1]], 0),
        (1, [3, 2], 1, &[[5, 3, 1, 1, 1, 1], [9, 3, 1, 0, 2, 1]], 0),
        (1, [2, 4], 2, &[[5, 3, 3, 0, 1, 2], [6, 2, 2, 1, 0, 3]], 1),
        (1, [2, 3], 1, &[[5, 1, 3, 0, 0, 1], [6, 1, 2, 0, 0, 1]], 1),
        (2, [4, 4], 4, &[[9, 3, 2, 1, 1, 1]], 0),
        (1, [2, 2], 1, &[[3, 2, 2, 0, 0, 1], [3, 2, 2, 0, 0, 1], [4, 3, 2, 1, 1, 1]], 0),
    ];
    for (n, channels, groups, axes, extra) in cases {
        check(&Numbers { n, channels, groups, axes }.transpose(extra), 2e-5);
    }
}

#[test]
fn transposed_with_epilogue() {
    for axes in [[[6, 2, 2, 0, 0, 1], [7, 2, 2, 0, 0, 1]], [[6, 3, 2, 1, 1, 1], [7, 3, 2, 1, 0, 1]]] {
        let numbers = Numbers { n: 2, channels: [3, 4], groups: 1, axes: &axes };
        for program in programs() {
            for tied in [false, true] {
                let mut case = numbers.transpose(0);
                let Kernel::ConvTranspose { epilogue, .. } = &mut case.kernel else { panic!("a convolution") };
                *epilogue = program.clone();
                let out = case.writes[0].access.layout.clone();
                check(&with_extras(case, out, tied), 2e-5);
            }
        }
    }
}

#[test]
fn empty_batches() {
    plain(0, [3, 8], 1, &[[9, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]);
    plain(0, [4, 4], 4, &[[9, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]);
}
