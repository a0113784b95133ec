// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "net/testing/uring_workers.h"
#include "tools/bench/tap_end.h"

namespace tapir::bench {
namespace {

constexpr std::chrono::nanoseconds kTurn = std::chrono::milliseconds(50);

/// A case, and what it gives.
struct Running {
  const CaseSpec* spec = nullptr;
  std::unique_ptr<Case> measured;
  CaseResult result;
};

/// Shows on stderr how far the run is.
class Progress {
 public:
  Progress(bool shown, std::size_t steps) : shown_(shown), steps_(steps) {}
  void step(const std::string& group, const std::string& name) {
    ++done_;
    if (shown_) {
      // Back to the line's start and over what is there.
      fmt::print(stderr, "\r\x1B[K[{:3} %] {}: {}", (done_ - 1) * 100 / steps_, group, name);
      std::fflush(stderr);
    }
  }
  void clear() const {
    if (shown_) {
      fmt::print(stderr, "\r\x1B[K");
      std::fflush(stderr);
    }
  }

 private:
  bool shown_;
  std::size_t steps_;
  std::size_t done_ = 0;
};

Status check_sound(const Tally& tally) {
  if (tally.disordered != 0) {
    return fail(fmt::format("{} frames came out of order, twice or damaged", tally.disordered));
  }
  if (tally.lost != 0) {
    return fail(fmt::format("{} frames were lost without being counted as dropped", tally.lost));
  }
  if (const std::size_t workers = net::testing::count_uring_workers(); workers != 0) {
    return fail(fmt::format("{} worker threads of io_uring have appeared, which reorder frames", workers));
  }
  return {};
}

Result<Tally> sound(Result<Tally> tally) {
  if (tally) {
    TAPIR_TRY(check_sound(*tally));
  }
  return tally;
}

Status verify(Running& running) {
  TAPIR_TRY_ASSIGN(const Tally tally, sound(running.measured->verify()));
  running.result.verified_frames += tally.frames;
  return {};
}

Status make(const CaseSpec& spec, Running& running) {
  running.spec = &spec;
  running.result.name = spec.name;
  auto made = spec.make();
  Status status;
  if (made) {
    running.measured = *std::move(made);
    status = verify(running);
  } else {
    status = tl::unexpected<Error>(std::move(made).error());
  }
  // What the kernel refuses has its errno; a frame that went astray has none, and is never excused.
  const bool refused = !status && (!running.measured || status.error().code() != 0);
  if (refused && spec.may_be_missing) {
    running.measured.reset();
    running.result.skipped = status.error().message();
    return {};
  }
  return status;
}

/// All cases of a group in turns, until each has had its time.
Status repeat(std::vector<Running>& running, const RunSettings& settings, const std::string& title,
              Progress& progress, bool first) {
  std::vector<Tally> tallies(running.size());
  const auto turns = std::max<std::int64_t>(1, settings.time / kTurn);
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < running.size(); ++i) {
      Running& now = running[i];
      if (!now.measured) {
        continue;
      }
      const auto context = [&](Error error) {
        return std::move(error).with_context(title + ", " + now.spec->name);
      };
      if (turn == 0) {
        progress.step(title, now.spec->name);
        if (auto verified = first ? Status{} : verify(now); !verified) {
          return tl::unexpected<Error>(context(std::move(verified).error()));
        }
      }
      auto tally = sound(now.measured->run(std::min(kTurn, settings.time)));
      if (!tally) {
        return tl::unexpected<Error>(context(std::move(tally).error()));
      }
      tallies[i].add(*std::move(tally));
    }
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    if (running[i].measured) {
      running[i].result.repetitions.push_back(Repetition::from(std::move(tallies[i])));
    }
  }
  return {};
}

Result<GroupResult> run_group(const GroupSpec& group, const RunSettings& settings, Progress& progress) {
  std::vector<Running> running(group.cases.size());
  for (std::size_t i = 0; i < running.size(); ++i) {
    if (auto made = make(group.cases[i], running[i]); !made) {
      return tl::unexpected<Error>(
          std::move(made).error().with_context(group.title + ", " + group.cases[i].name));
    }
  }
  for (unsigned repetition = 0; repetition < settings.repetitions; ++repetition) {
    TAPIR_TRY(repeat(running, settings, group.title, progress, repetition == 0));
  }
  GroupResult result{group.title, group.round_trips, {}};
  for (Running& each : running) {
    result.cases.push_back(std::move(each.result));
  }
  return result;
}

}  // namespace

Result<std::vector<GroupResult>> run_groups(const std::vector<GroupSpec>& groups,
                                            const RunSettings& settings) {
  std::size_t steps = 0;
  for (const GroupSpec& group : groups) {
    steps += group.cases.size() * settings.repetitions;
  }
  Progress progress(settings.show_progress, steps);
  std::vector<GroupResult> results;
  for (const GroupSpec& group : groups) {
    auto result = run_group(group, settings, progress);
    if (!result) {
      progress.clear();
      return tl::unexpected<Error>(std::move(result).error());
    }
    results.push_back(*std::move(result));
  }
  progress.clear();
  return results;
}

}  // namespace tapir::bench
