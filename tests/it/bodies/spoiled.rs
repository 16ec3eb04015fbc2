//! Damage to a compiled program with bodies, one piece at a time.

use situ_runtime::executable::{Executable, Plan, Space};
use situ_runtime::kernel::Kernel;

/// Every damage of each kind to every plan and body, with its name.
pub fn all(sound: &Executable) -> Vec<(String, Executable)> {
    let mut found = Vec::new();
    let parts = sound.bodies.len() + sound.plans.len();
    for part in 0..parts {
        let plan = |executable: &Executable| -> Plan { at(&mut executable.clone(), part).clone() };
        let (steps, values) = (plan(sound).steps.len(), plan(sound).values.len());
        let mut spoil = |what: String, damage: &dyn Fn(&mut Plan)| {
            let mut executable = sound.clone();
            damage(at(&mut executable, part));
            if executable != *sound {
                found.push((format!("{what} in part {part}"), executable));
            }
        };
        for step in 0..steps {
            spoil(format!("step {step} left out"), &|plan| drop(plan.steps.remove(step)));
            if step + 1 < steps {
                spoil(format!("step {step} after the next"), &|plan| plan.steps.swap(step, step + 1));
            }
            spoil(format!("no base for step {step}"), &|plan| {
                for write in &mut plan.steps[step].writes {
                    write.base = None;
                }
            });
            spoil(format!("scratch of step {step} at the start"), &|plan| {
                if let Some(place) = &mut plan.steps[step].workspace {
                    place.offset = 0;
                }
            });
            spoil(format!("step {step} reads its first operand for its last"), &|plan| {
                let reads = &mut plan.steps[step].reads;
                if let Some(first) = reads.first().cloned()
                    && let Some(last) = reads.last_mut()
                    && last.layout.shape == first.layout.shape
                    && last.dtype == first.dtype
                    && last.value != first.value
                {
                    // The value is another, so the certificate says so too; what is damaged is the place.
                    let place = plan.values[first.value as usize].place;
                    let value = plan.steps[step].reads.last().map_or(0, |last| last.value);
                    plan.values[value as usize].place = place;
                }
            });
            spoil(format!("other bodies for step {step}"), &|plan| {
                if let Kernel::If { then_body, else_body, .. } = &mut plan.steps[step].kernel {
                    *else_body = *then_body;
                }
                if let Kernel::Loop { body, .. } = &mut plan.steps[step].kernel {
                    *body = body.wrapping_sub(1);
                }
            });
            spoil(format!("another number of slices in step {step}"), &|plan| {
                // Without slices another number of iterations is another program, and as sound.
                let writes = plan.steps[step].writes.len();
                if let Kernel::Loop { trips: Some(trips), carried, sequences, .. } = &mut plan.steps[step].kernel
                    && (*sequences > 0 || writes > *carried)
                {
                    *trips += 1;
                }
            });
            spoil(format!("one carry less in step {step}"), &|plan| {
                if let Kernel::Loop { carried, .. } | Kernel::If { carried, .. } = &mut plan.steps[step].kernel {
                    *carried = carried.saturating_sub(1);
                }
            });
        }
        for value in 0..values {
            spoil(format!("value {value} at the start of the arena"), &|plan| {
                if plan.values[value].place.space == Space::Arena {
                    plan.values[value].place.offset = 0;
                }
            });
            for other in 0..values {
                spoil(format!("value {value} where {other} is"), &|plan| {
                    let (a, b) = (plan.values[value].place, plan.values[other].place);
                    if a.bytes == b.bytes && a.bytes > 0 && a.space != Space::Weights && b.space != Space::Weights {
                        plan.values[value].place = b;
                    }
                });
            }
        }
        let finals = plan(sound).finals.len();
        for number in 0..finals {
            spoil(format!("final value {number} left out"), &|plan| drop(plan.finals.splice(number..=number, [])));
            spoil(format!("final value {number} is the initial one"), &|plan| {
                let (input, _) = plan.finals[number];
                plan.finals[number].1 = plan.input_values[input as usize];
            });
            if number + 1 < finals {
                spoil(format!("final values {number} and the next exchanged"), &|plan| {
                    let next = plan.finals[number + 1].1;
                    plan.finals[number + 1].1 = plan.finals[number].1;
                    plan.finals[number].1 = next;
                });
            }
        }
    }
    found
}

/// A body or, after those, a plan.
fn at(executable: &mut Executable, part: usize) -> &mut Plan {
    let bodies = executable.bodies.len();
    if part < bodies { &mut executable.bodies[part] } else { &mut executable.plans[part - bodies] }
}
