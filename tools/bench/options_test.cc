// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tapir::bench {
namespace {

using ::testing::HasSubstr;
using Direction = Subject::Direction;

std::string error_of(const std::vector<std::string>& words) {
  const auto options = parse_options(words);
  return options ? "no error" : options.error().message();
}

TEST(Options, ReadsEveryParameterInBothSpellings) {
  const auto options =
      parse_options({"device", "--direction=rx", "--frame", "tso", "--buffer=4096", "--backlog", "64",
                     "--engine=sync", "--offloads", "on", "--mergeable=on", "--event-idx=off", "--queues=1",
                     "--seconds=0.5", "--repetitions", "3", "--json=a.json", "--plot=a.svg"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->mode, Options::Mode::kDevice);
  EXPECT_EQ(options->subject.direction, Direction::kReceive);
  EXPECT_EQ(options->subject.mix.largest(), kLargeFrameBytes);
  EXPECT_EQ(options->subject.device.shape.receive_buffer_bytes, 4096U);
  EXPECT_EQ(options->subject.backlog, 64U);
  EXPECT_FALSE(options->subject.device.event_index);
  EXPECT_EQ(options->run.time, std::chrono::milliseconds(500));
  EXPECT_EQ(options->run.repetitions, 3U);
  EXPECT_EQ(options->json_file, "a.json");
  EXPECT_EQ(options->plot_file, "a.svg");
}

TEST(Options, NoWordsAskForHelp) {
  const auto options = parse_options({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->mode, Options::Mode::kHelp);
}

TEST(Options, CompareTakesTwoFiles) {
  const auto options = parse_options({"--compare", "a", "b"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->inputs, (std::vector<std::string>{"a", "b"}));
  EXPECT_THAT(error_of({"--compare", "a"}), HasSubstr("before.json after.json"));
}

TEST(Options, ReportTakesOneFileAndOptions) {
  const auto options = parse_options({"report", "a", "--plot=a.svg"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->inputs, std::vector<std::string>{"a"});
  EXPECT_EQ(options->plot_file, "a.svg");
  EXPECT_THAT(error_of({"report"}), HasSubstr("report takes a file"));
}

TEST(Options, ErrorsNameTheWordAndWhatItMayBe) {
  EXPECT_THAT(error_of({"fast"}), HasSubstr("'fast' is none of raw, device"));
  EXPECT_THAT(error_of({"device", "--directoin=tx"}), HasSubstr("did you mean --direction?"));
  EXPECT_THAT(error_of({"device", "--direction", "up"}), HasSubstr("--direction: 'up' is none of tx, rx"));
  EXPECT_THAT(error_of({"device", "--frame=9000"}), HasSubstr("'9000'"));
  EXPECT_THAT(error_of({"device", "--frame=118,118,118"}), HasSubstr("must divide 256"));
  EXPECT_THAT(error_of({"device", "--backlog=0"}), HasSubstr("1 to 256"));
  EXPECT_THAT(error_of({"device", "--engine=warp"}), HasSubstr("there is no engine 'warp'; there are sync"));
  EXPECT_THAT(error_of({"device", "--seconds=0"}), HasSubstr("measure nothing"));
  EXPECT_THAT(error_of({"device", "--json"}), HasSubstr("--json takes a value: FILE"));
}

TEST(Options, WhatDoesNotGoTogetherIsSaid) {
  EXPECT_THAT(error_of({"device", "--queues=2"}), HasSubstr("the device has one pair"));
  EXPECT_THAT(error_of({"device", "--direction=rr", "--frame=tso"}), HasSubstr("round trips are of small"));
  EXPECT_THAT(error_of({"device", "--frame=tso", "--offloads=off"}), HasSubstr("need --offloads on"));
  EXPECT_THAT(error_of({"device", "--frame=tso", "--mergeable=off"}), HasSubstr("--buffer must be"));
  EXPECT_THAT(error_of({"raw", "--direction=rr"}), HasSubstr("is for tapir-bench device"));
  EXPECT_THAT(error_of({"guest", "--frame=mixed"}), HasSubstr("frames of one size"));
  EXPECT_THAT(error_of({"guest", "--buffer=4096"}), HasSubstr("are not for tapir-bench guest"));
}

TEST(Options, HelpNamesEveryModeAndOption) {
  const std::string help = help_text();
  for (const char* word :
       {"raw",         "device",    "guest",    "stream",    "goals",         "--compare",  "--direction",
        "--frame",     "--backlog", "--buffer", "--engine",  "--poll-us",     "--offloads", "--mergeable",
        "--event-idx", "--queues",  "--frames", "--seconds", "--repetitions", "--json",     "--plot"}) {
    EXPECT_THAT(help, HasSubstr(word));
  }
}

}  // namespace
}  // namespace tapir::bench
