// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace tapir::bench {
namespace {

constexpr std::size_t kNameColumns = 30;

/// Nobody counts the system calls of an I/O thread from outside, nor its allocations; without a call nothing
/// moves.
std::string path_columns(const CaseResult& each) {
  const double syscalls = each.median(&Repetition::syscalls_per_frame);
  const double interrupts = each.median(&Repetition::interrupts_per_frame);
  if (syscalls == 0) {
    return fmt::format(" {:>7} {:>7.4f} {:>6}\n", "-", interrupts, "-");
  }
  return fmt::format(" {:>7.3f} {:>7.4f} {:>6.2f}\n", syscalls, interrupts,
                     each.median(&Repetition::allocations_per_frame));
}

std::string throughput_row(const GroupResult& group, const CaseResult& each) {
  const Summary time = summarise(each.each(&Repetition::ns_per_frame));
  const double bytes = each.median(&Repetition::bytes_per_frame);
  const Summary ratio = summarise(GroupResult::speed_ratios(each, group.cases.front()));
  return fmt::format("  {:<{}} {:>8.1f} {:>8.1f}-{:<8.1f} {:>7.3f} {:>7.2f}  {:>5.2f} {:>5.2f}-{:<5.2f}",
                     each.name, kNameColumns, time.median, time.min, time.max, 1000 / time.median,
                     bytes * 8 / time.median, ratio.median, ratio.min, ratio.max) +
         path_columns(each);
}

std::string latency_row(const GroupResult& group, const CaseResult& each) {
  std::string row = fmt::format("  {:<{}}", each.name, kNameColumns);
  for (std::size_t i = 0; i < kPercents.size(); ++i) {
    std::vector<double> values;
    for (const Repetition& repetition : each.repetitions) {
      values.push_back(repetition.percentiles_us[i]);
    }
    row += fmt::format(" {:>8.1f}", summarise(values).median);
  }
  // Of times, not of speeds: 1.10 is ten percent slower.
  const auto ratio = summarise(GroupResult::speed_ratios(group.cases.front(), each));
  return row + fmt::format("  {:>5.2f} {:>5.2f}-{:<5.2f}\n", ratio.median, ratio.min, ratio.max);
}

std::string header(const GroupResult& group) {
  if (!group.round_trips) {
    return fmt::format("  {:<{}} {:>8} {:>17} {:>7} {:>7}  {:>5} {:>11} {:>7} {:>7} {:>6}\n", "",
                       kNameColumns, "ns/frame", "min-max", "M/s", "Gbit/s", "speed", "min-max", "sysc/f",
                       "irq/f", "heap/f");
  }
  std::string text = fmt::format("  {:<{}}", "microseconds", kNameColumns);
  for (const double percent : kPercents) {
    text += fmt::format(" {:>8}", fmt::format("p{}", percent));
  }
  return text + fmt::format("  {:>5} {:>11}\n", "p50 x", "min-max");
}

}  // namespace

std::string format_results(const RunResult& run) {
  std::string text = fmt::format("tapir {}, Linux {}, {}\n", run.version, run.kernel, run.cpu);
  for (const GroupResult& group : run.groups) {
    text += "\n" + group.title + "\n" + header(group);
    for (const CaseResult& each : group.cases) {
      if (!each.measured()) {
        text += fmt::format("  {:<{}} left out: {}\n", each.name, kNameColumns, each.skipped);
      } else {
        text += group.round_trips ? latency_row(group, each) : throughput_row(group, each);
      }
    }
  }
  return text;
}

std::string format_comparison(const RunResult& before, const RunResult& after) {
  std::string text = fmt::format("before: tapir {}, Linux {}\nafter:  tapir {}, Linux {}\n", before.version,
                                 before.kernel, after.version, after.kernel);
  for (const GroupResult& group : after.groups) {
    const GroupResult* const old_group = before.find(group.title);
    std::string rows;
    for (const CaseResult& each : group.cases) {
      const CaseResult* const old = old_group == nullptr ? nullptr : old_group->find(each.name);
      if (old == nullptr || !old->measured() || !each.measured()) {
        continue;
      }
      const Summary was = summarise(old->each(&Repetition::ns_per_frame));
      const Summary is = summarise(each.each(&Repetition::ns_per_frame));
      // Spreads that touch each other prove nothing.
      const bool apart = is.min > was.max || is.max < was.min;
      const char* const verdict = !apart                   ? "same within the spread"
                                  : is.median < was.median ? "FASTER"
                                                           : "SLOWER";
      rows += fmt::format("  {:<{}} {:>10.1f} {:>10.1f} {:>+7.1f} %  {}\n", each.name, kNameColumns,
                          was.median, is.median, (is.median / was.median - 1) * 100, verdict);
    }
    if (!rows.empty()) {
      text += fmt::format("\n{}\n  {:<{}} {:>10} {:>10}\n", group.title, "ns per frame", kNameColumns,
                          "before", "after") +
              rows;
    }
  }
  return text;
}

}  // namespace tapir::bench
