// SPDX-License-Identifier: Apache-2.0
// What is made of measurements: JSON, tables, comparisons, verdicts and the plot's program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tools/bench/goals.h"
#include "tools/bench/json_report.h"
#include "tools/bench/plot.h"
#include "tools/bench/table.h"

namespace tapir::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CaseResult case_of(const std::string& name, const std::vector<double>& times) {
  CaseResult result;
  result.name = name;
  for (const double time : times) {
    Repetition repetition;
    repetition.frames = 1000;
    repetition.ns_per_frame = time;
    repetition.bytes_per_frame = 118;
    repetition.percentiles_us.fill(time / 1000);
    result.repetitions.push_back(repetition);
  }
  return result;
}

RunResult run_of(const std::vector<double>& device_times) {
  RunResult run{"0.1.0", "6.1", "a CPU", false, {}};
  run.groups.push_back(
      {"TX 118 B", false, {case_of("write()", {100, 110, 120}), case_of("device, sync", device_times)}});
  run.groups.push_back({"round trip 118 B",
                        true,
                        {case_of("blocking read/write loop", {9000}), case_of("device, sync", {9900})}});
  CaseResult missing;
  missing.name = "ring WRITE x8";
  missing.skipped = "io_uring is not to be had here";
  run.groups.front().cases.push_back(missing);
  return run;
}

TEST(Repetition, CountsPerFrameAndSortsRoundTrips) {
  Tally tally;
  tally.frames = 4;
  tally.bytes = 400;
  tally.nanoseconds = 1000;
  tally.syscalls = 2;
  const auto plain = Repetition::from(tally);
  EXPECT_EQ(plain.ns_per_frame, 250.0);
  EXPECT_EQ(plain.bytes_per_frame, 100.0);
  EXPECT_EQ(plain.syscalls_per_frame, 0.5);
  tally.latencies = {4000, 1000, 3000, 2000};
  EXPECT_EQ(Repetition::from(tally).ns_per_frame, 2000.0);
}

TEST(Json, RunComesBackAsItWas) {
  const RunResult run = run_of({125, 130, 135});
  const auto back = from_json(to_json(run));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(to_json(*back), to_json(run));
  ASSERT_EQ(back->groups.size(), 2U);
  EXPECT_EQ(back->groups[0].cases[1].repetitions[1].ns_per_frame, 130.0);
  EXPECT_EQ(back->groups[0].cases[2].skipped, "io_uring is not to be had here");
}

TEST(Json, OtherTextIsRefusedInOneSentence) {
  for (const char* text : {"", "{", "[]", "{\"format\": 3}", "{\"format\": \"tapir-bench 1\"}"}) {
    const auto run = from_json(text);
    ASSERT_FALSE(run) << text;
    EXPECT_EQ(std::count(run.error().message().begin(), run.error().message().end(), '\n'), 0) << text;
  }
}

TEST(Json, MissingFileIsNamed) {
  const auto run = read_json("/nowhere/a.json");
  ASSERT_FALSE(run);
  EXPECT_THAT(run.error().message(), HasSubstr("/nowhere/a.json"));
}

TEST(Comparison, OnlySpreadsThatDoNotTouchAreAChange) {
  const RunResult before = run_of({125, 130, 135});
  EXPECT_THAT(format_comparison(before, run_of({85, 90, 95})), HasSubstr("FASTER"));
  EXPECT_THAT(format_comparison(before, run_of({185, 190, 195})), HasSubstr("SLOWER"));
  EXPECT_THAT(format_comparison(before, run_of({134, 140, 145})), Not(HasSubstr("SLOWER")));
}

TEST(Table, HasMediansRatiosAndReasons) {
  const std::string text = format_results(run_of({125, 137.5, 150}));
  EXPECT_THAT(text, HasSubstr("137.5"));
  EXPECT_THAT(text, HasSubstr("0.80"));
  EXPECT_THAT(text, HasSubstr("left out: io_uring is not to be had here"));
  EXPECT_THAT(text, HasSubstr("p99.9"));
}

TEST(Goals, MedianOfTheRatiosDecides) {
  const auto find = [](const std::vector<Verdict>& verdicts, const std::string& goal) {
    const auto found = std::find_if(verdicts.begin(), verdicts.end(),
                                    [&](const Verdict& each) { return each.goal == goal; });
    return found == verdicts.end() ? Verdict{} : *found;
  };
  const auto good = judge(run_of({110, 121, 200}), {"sync"});
  EXPECT_EQ(find(good, "sync: TX 118 B, of write()").outcome, Verdict::Outcome::kMet);
  EXPECT_EQ(find(good, "sync: round trip, p50 of a blocking loop's").outcome, Verdict::Outcome::kMet);
  EXPECT_EQ(find(good, "sync: TX 64K TSO, of writev()").outcome, Verdict::Outcome::kNotMeasured);
  const auto bad = judge(run_of({200, 221, 110}), {"sync"});
  EXPECT_EQ(find(bad, "sync: TX 118 B, of write()").outcome, Verdict::Outcome::kMissed);
  EXPECT_THAT(format_verdicts(bad), HasSubstr("MISSED"));
  EXPECT_THAT(format_verdicts(bad), HasSubstr("not measured"));
}

TEST(Goals, EveryLineHasAMeasurementOfGoalGroups) {
  RunResult run;
  for (const GroupSpec& group : goal_groups({"sync", "uring"}, 1000)) {
    GroupResult result{group.title, group.round_trips, {}};
    for (const CaseSpec& each : group.cases) {
      result.cases.push_back(case_of(each.name, {100}));
    }
    run.groups.push_back(std::move(result));
  }
  const auto verdicts = judge(run, {"sync", "uring"});
  EXPECT_GT(verdicts.size(), 40U);
  for (const Verdict& verdict : verdicts) {
    EXPECT_NE(verdict.outcome, Verdict::Outcome::kNotMeasured) << verdict.goal;
  }
}

TEST(Plot, DrawsABarForEachCaseAndACurveForEachRoundTrip) {
  const std::string script = plot_script(run_of({125, 130, 135}), "out.svg");
  EXPECT_THAT(script, HasSubstr("set output 'out.svg'"));
  EXPECT_THAT(script, HasSubstr("write()"));
  EXPECT_THAT(script, HasSubstr("device, sync"));
  EXPECT_THAT(script, HasSubstr("plot $d1"));
  EXPECT_THAT(script, Not(HasSubstr("ring WRITE x8")));
}

TEST(Plot, WritesAboveTheSpreadAndBreaksLongTitles) {
  RunResult run;
  run.groups.push_back({"guest RX 64K TSO into 1536 B buffers",
                        false,
                        {case_of("readv()", {100, 100}), case_of("guest, uring", {200, 400})}});
  const std::string script = plot_script(run, "out.svg");
  EXPECT_THAT(script, HasSubstr("\"guest RX 64K TSO\\ninto 1536 B buffers\""));
  // Half as fast at best; tapir's bar is in a colour of its own.
  EXPECT_THAT(script, HasSubstr("M/s\" at 1.50,0.5000"));
  EXPECT_THAT(script, HasSubstr("fc rgb '#e08214'"));
}

}  // namespace
}  // namespace tapir::bench
