// SPDX-License-Identifier: Apache-2.0
// `tapir-bench guest` for a moment: the program tapir with the guest of tools/bench/guest, on this host's
// KVM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "net/testing/network_namespace.h"
#include "tools/bench/groups.h"
#include "tools/bench/runner.h"

namespace tapir::bench {
namespace {

using Direction = Subject::Direction;

class Guest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
      TAPIR_SKIP_TEST("/dev/kvm cannot be used here");
    }
    TAPIR_ENTER_NETWORK_NAMESPACE();
  }

  static Subject subject(Direction direction, const char* frames) {
    Subject subject;
    subject.direction = direction;
    subject.mix = *parse_frame_mix(frames);
    subject.engines = {"uring"};
    return subject;
  }
  static Result<std::vector<GroupResult>> measure(const Subject& subject) {
    RunSettings settings;
    settings.time = std::chrono::milliseconds(20);
    settings.repetitions = 1;
    return run_groups({guest_group(subject)}, settings);
  }
  static void expect_figures(const Subject& subject) {
    const auto results = measure(subject);
    ASSERT_TRUE(results) << results.error().message();
    for (const CaseResult& each : results->front().cases) {
      EXPECT_GT(each.verified_frames, 0U) << each.name;
      EXPECT_GT(each.median(&Repetition::ns_per_frame), 0) << each.name;
    }
    EXPECT_EQ(results->front().cases.back().name, "guest, " + subject.engines.back());
  }
};

TEST_F(Guest, MovesEveryFrameBothWaysOnEachEngine) {
  Subject both = subject(Direction::kBoth, "118");
  both.engines = engine_names();
  expect_figures(both);
}

TEST_F(Guest, MovesLargeFramesBothWaysWithoutEventIndex) {
  Subject both = subject(Direction::kBoth, "tso");
  both.backlog = 16;
  both.device.event_index = false;
  both.device.shape.receive_buffer_bytes = 65568;
  expect_figures(both);
}

TEST_F(Guest, SendsBackEachFrameOfARoundTrip) {
  expect_figures(subject(Direction::kRoundTrip, "118"));
}

TEST_F(Guest, LossOfOneFrameInEitherDirectionIsAnError) {
  for (const Direction direction : {Direction::kTransmit, Direction::kReceive}) {
    Subject losing = subject(direction, "118");
    losing.lose = 1234;
    const auto results = measure(losing);
    ASSERT_FALSE(results);
    EXPECT_THAT(results.error().message(), ::testing::HasSubstr("guest, uring: 1 frames were lost"));
  }
}

}  // namespace
}  // namespace tapir::bench
