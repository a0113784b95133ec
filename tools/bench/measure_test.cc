// SPDX-License-Identifier: Apache-2.0
// Every mode of tapir-bench for a moment, in a network namespace of its own: frames move, none is lost or out
// of order, and the figures that the report needs are there.
#include <gtest/gtest.h>

#include "net/testing/network_namespace.h"
#include "tools/bench/goals.h"
#include "tools/bench/groups.h"
#include "tools/bench/runner.h"

namespace tapir::bench {
namespace {

using Direction = Subject::Direction;

class Measure : public ::testing::Test {
 protected:
  void SetUp() override { TAPIR_ENTER_NETWORK_NAMESPACE(); }

  static Subject subject(Direction direction, const char* frames, std::size_t buffer_bytes = 1536) {
    Subject subject;
    subject.direction = direction;
    subject.mix = *parse_frame_mix(frames);
    subject.device.shape.receive_buffer_bytes = buffer_bytes;
    subject.engines = engine_names();
    subject.verified_frames = 5000;
    return subject;
  }
  static void expect_figures(const std::vector<GroupSpec>& groups) {
    RunSettings settings;
    settings.time = std::chrono::milliseconds(2);
    settings.repetitions = 2;
    const auto results = run_groups(groups, settings);
    ASSERT_TRUE(results) << results.error().message();
    ASSERT_EQ(results->size(), groups.size());
    for (const GroupResult& group : *results) {
      for (const CaseResult& each : group.cases) {
        if (!each.measured()) {
          EXPECT_NE(each.skipped, "") << group.title << ", " << each.name;
          continue;
        }
        EXPECT_EQ(each.repetitions.size(), 2U);
        EXPECT_GT(each.verified_frames, 0U) << group.title << ", " << each.name;
        EXPECT_GT(each.median(&Repetition::ns_per_frame), 0) << group.title << ", " << each.name;
      }
      ASSERT_FALSE(group.cases.empty());
      EXPECT_TRUE(group.cases.front().measured()) << group.title << ": " << group.cases.front().skipped;
    }
  }
};

TEST_F(Measure, RawMethodsMoveEveryFrame) {
  expect_figures(
      {raw_group(subject(Direction::kTransmit, "118")), raw_group(subject(Direction::kReceive, "118")),
       raw_group(subject(Direction::kTransmit, "tso")), raw_group(subject(Direction::kReceive, "tso"))});
}

TEST_F(Measure, DeviceMovesEveryFrameOfEveryGoal) {
  expect_figures(goal_groups(engine_names(), 5000));
}

TEST_F(Measure, DeviceMovesFramesBothWaysWithoutOffloadsAndEventIndex) {
  Subject both = subject(Direction::kBoth, "118,1514");
  both.device.offloads = false;
  both.device.event_index = false;
  both.device.mergeable = false;
  both.device.shape.receive_buffer_bytes = 2048;
  both.backlog = 32;
  expect_figures({device_group(both), stream_group(both)});
}

}  // namespace
}  // namespace tapir::bench
