// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/goals.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "tools/bench/groups.h"

namespace tapir::bench {
namespace {

using Direction = Subject::Direction;
using Outcome = Verdict::Outcome;

constexpr std::string_view kSmall = "118";
constexpr std::string_view kLarge = "tso";
constexpr std::string_view kMixed = "mixed";
constexpr std::size_t kPageBuffer = 4096;
constexpr std::size_t kFrameBuffer = 1536;
constexpr unsigned kPollMicroseconds = 50;

struct Part {
  Direction direction;
  std::string_view mix;
  std::size_t buffer_bytes;
  unsigned poll_us = 0;
};

Subject subject_of(const Part& part, const std::vector<std::string>& engines) {
  Subject subject;
  subject.direction = part.direction;
  subject.mix = *parse_frame_mix(part.mix);
  subject.device.shape.receive_buffer_bytes = part.buffer_bytes;
  subject.device.engine.poll_us = part.poll_us;
  subject.engines = engines;
  return subject;
}

std::string title_of(const Part& part) {
  return subject_of(part, {}).title();
}

constexpr Part kTransmitSmall{Direction::kTransmit, kSmall, kFrameBuffer};
constexpr Part kTransmitLarge{Direction::kTransmit, kLarge, kFrameBuffer};
constexpr Part kTransmitMixed{Direction::kTransmit, kMixed, kPageBuffer};
constexpr Part kReceiveSmall{Direction::kReceive, kSmall, kFrameBuffer};
constexpr Part kReceiveLarge{Direction::kReceive, kLarge, kFrameBuffer};
constexpr Part kReceivePages{Direction::kReceive, kLarge, kPageBuffer};
constexpr Part kReceiveMixed{Direction::kReceive, kMixed, kPageBuffer};
constexpr Part kRoundTrip{Direction::kRoundTrip, kSmall, kFrameBuffer};
constexpr Part kPolledTrip{Direction::kRoundTrip, kSmall, kFrameBuffer, kPollMicroseconds};

/// Judges one run, line by line.
class Judge {
 public:
  explicit Judge(const RunResult& run) : run_(run) {}

  /// Speed of the device for each 1 of the ceiling, or of the case named `reference`.
  void speed(const std::string& goal, const Part& part, const std::string& name, double limit,
             const std::string& reference = {}) {
    const CaseResult* const each = find(part, name);
    const GroupResult* const group = run_.find(title_of(part));
    const CaseResult* const ceiling = group == nullptr    ? nullptr
                                      : reference.empty() ? &group->cases.front()
                                                          : group->find(reference);
    add(goal,
        each == nullptr || ceiling == nullptr ? std::vector<double>()
                                              : GroupResult::speed_ratios(*each, *ceiling),
        limit, true);
  }
  /// Time of a round trip for each 1 of the raw loop's.
  void latency(const std::string& goal, const Part& part, const std::string& name, double limit) {
    const CaseResult* const each = find(part, name);
    add(goal,
        each == nullptr ? std::vector<double>()
                        : GroupResult::speed_ratios(run_.find(title_of(part))->cases.front(), *each),
        limit, false);
  }
  /// Speed for each 1 of small and large frames by their raw calls, half and half.
  void mixed(const std::string& goal, const Part& part, const Part& small, const Part& large,
             const std::string& name, double limit) {
    const CaseResult* const each = find(part, name);
    const GroupResult* const of_small = run_.find(title_of(small));
    const GroupResult* const of_large = run_.find(title_of(large));
    std::vector<double> weighted;
    if (each != nullptr && of_small != nullptr && of_large != nullptr) {
      weighted = of_small->cases.front().each(&Repetition::ns_per_frame);
      const auto other = of_large->cases.front().each(&Repetition::ns_per_frame);
      for (std::size_t i = 0; i < std::min(weighted.size(), other.size()); ++i) {
        weighted[i] = (weighted[i] + other[i]) / 2;
      }
      weighted = ratios(weighted, each->each(&Repetition::ns_per_frame));
    }
    add(goal, weighted, limit, true);
  }
  void at_most(const std::string& goal, const Part& part, const std::string& name, double limit,
               double Repetition::*figure) {
    const CaseResult* const each = find(part, name);
    add(goal, each == nullptr ? std::vector<double>() : each->each(figure), limit, false);
  }

  std::vector<Verdict> verdicts;

 private:
  const CaseResult* find(const Part& part, const std::string& name) const {
    const GroupResult* const group = run_.find(title_of(part));
    const CaseResult* const each = group == nullptr ? nullptr : group->find(name);
    return each != nullptr && each->measured() ? each : nullptr;
  }
  void add(const std::string& goal, const std::vector<double>& values, double limit, bool at_least) {
    Verdict verdict{goal, summarise(values), limit, at_least, Outcome::kNotMeasured};
    if (!values.empty()) {
      const bool met = at_least ? verdict.value.median >= limit : verdict.value.median <= limit;
      verdict.outcome = met ? Outcome::kMet : Outcome::kMissed;
    }
    verdicts.push_back(std::move(verdict));
  }

  const RunResult& run_;
};

void judge_engine(Judge& judge, const std::string& engine) {
  const std::string name = "device, " + engine;
  const auto goal = [&engine](const std::string& text) { return engine + ": " + text; };
  judge.speed(goal("TX 118 B, of write()"), kTransmitSmall, name, 0.85);
  judge.speed(goal("TX 64K TSO, of writev()"), kTransmitLarge, name, 0.95);
  judge.speed(goal("RX 118 B, of read()"), kReceiveSmall, name, 0.85);
  judge.speed(goal("RX 118 B, of a readv() over 256 buffers"), kReceiveSmall, name, 1.5, "readv() of 256");
  judge.speed(goal("RX 64K TSO into 1536 B buffers, of readv()"), kReceiveLarge, name, 0.90);
  judge.speed(goal("RX 64K TSO into 4096 B buffers, of readv()"), kReceivePages, name, 0.90);
  judge.mixed(goal("TX small and large 1:1, of the raw calls weighted"), kTransmitMixed, kTransmitSmall,
              kTransmitLarge, name, 0.75);
  judge.mixed(goal("RX small and large 1:1, of the raw calls weighted"), kReceiveMixed, kReceiveSmall,
              kReceivePages, name, 0.75);
  judge.at_most(goal("TX 118 B, system calls per frame"), kTransmitSmall, name, 1.0 / 16,
                &Repetition::syscalls_per_frame);
  judge.at_most(goal("RX 118 B, system calls per frame"), kReceiveSmall, name, 1.0 / 8,
                &Repetition::syscalls_per_frame);
  judge.at_most(goal("TX 118 B, interrupts per frame"), kTransmitSmall, name, 1.0 / 16,
                &Repetition::interrupts_per_frame);
  judge.at_most(goal("RX 118 B, interrupts per frame"), kReceiveSmall, name, 1.0 / 16,
                &Repetition::interrupts_per_frame);
  for (const Part* const part : {&kTransmitSmall, &kTransmitLarge, &kReceiveSmall, &kReceivePages}) {
    judge.at_most(goal(title_of(*part) + ", heap allocations per frame"), *part, name, 0,
                  &Repetition::allocations_per_frame);
  }
  judge.latency(goal("round trip, p50 of a blocking loop's"), kRoundTrip, name, 1.10);
  judge.latency(goal("round trip, poll-us=50, p50 of a spinning loop's"), kPolledTrip,
                fmt::format("{}, poll-us={}", name, kPollMicroseconds), 1.5);
}

}  // namespace

std::vector<GroupSpec> goal_groups(const std::vector<std::string>& engines, std::uint64_t frames) {
  std::vector<GroupSpec> groups;
  for (const Part* const part : {&kTransmitSmall, &kTransmitLarge, &kTransmitMixed, &kReceiveSmall,
                                 &kReceiveLarge, &kReceivePages, &kReceiveMixed, &kRoundTrip, &kPolledTrip}) {
    groups.push_back(device_group(subject_of(*part, engines)));
  }
  for (const Part* const part : {&kTransmitSmall, &kReceiveSmall, &kReceiveMixed}) {
    Subject subject = subject_of(*part, engines);
    subject.verified_frames = frames;
    groups.push_back(stream_group(subject));
  }
  return groups;
}

std::vector<Verdict> judge(const RunResult& run, const std::vector<std::string>& engines) {
  Judge judge(run);
  for (const std::string& engine : engines) {
    judge_engine(judge, engine);
  }
  // `sync` is first; what comes after it may not be slower, nor may it be much slower than the others.
  for (std::size_t i = 1; i < engines.size(); ++i) {
    for (const Part* const part : {&kTransmitSmall, &kTransmitLarge, &kReceiveSmall, &kReceiveLarge,
                                   &kReceivePages, &kTransmitMixed, &kReceiveMixed}) {
      const std::string first = "device, " + engines[0];
      const std::string other = "device, " + engines[i];
      judge.speed(fmt::format("{} of {}, {}", engines[0], engines[i], title_of(*part)), *part, first, 0.90,
                  other);
      judge.speed(fmt::format("{} of {}, {}", engines[i], engines[0], title_of(*part)), *part, other, 0.98,
                  first);
    }
  }
  return judge.verdicts;
}

std::string format_verdicts(const std::vector<Verdict>& verdicts) {
  std::string text = fmt::format("\n{:<64} {:>7} {:>15} {:>9}\n", "Goals", "median", "min-max", "goal");
  for (const Verdict& each : verdicts) {
    const std::string limit = fmt::format("{} {:.4g}", each.at_least ? ">=" : "<=", each.limit);
    if (each.outcome == Outcome::kNotMeasured) {
      text += fmt::format("  {:<62} {:>23} {:>9}  not measured\n", each.goal, "", limit);
    } else {
      text += fmt::format("  {:<62} {:>7.3f} {:>7.3f}-{:<7.3f} {:>9}  {}\n", each.goal, each.value.median,
                          each.value.min, each.value.max, limit,
                          each.outcome == Outcome::kMet ? "met" : "MISSED");
    }
  }
  return text;
}

}  // namespace tapir::bench
