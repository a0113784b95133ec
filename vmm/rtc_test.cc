// SPDX-License-Identifier: Apache-2.0
#include "vmm/rtc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/timerfd.h>

#include <vector>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

// Saturday, 2024-02-03 16:05:06 UTC.
constexpr seconds kThen{1'706'976'306};

class RtcTest : public ::testing::Test {
 protected:
  std::uint64_t get(std::uint64_t index) {
    testing::write(rtc_, 0, index);
    return testing::read(rtc_, 1);
  }
  void set(std::uint64_t index, std::uint64_t value) {
    testing::write(rtc_, 0, index);
    testing::write(rtc_, 1, value);
  }
  /// Century, year, month, day, weekday, hour, minute, second.
  std::vector<std::uint64_t> time() {
    std::vector<std::uint64_t> result;
    for (const unsigned index : {0x32U, 9U, 8U, 7U, 6U, 4U, 2U, 0U}) {
      result.push_back(get(index));
    }
    return result;
  }
  bool timer_armed() const {
    itimerspec left{};
    EXPECT_EQ(::timerfd_gettime(timer_.get(), &left), 0);
    return left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0;
  }

  testing::FakeInterrupt line_;
  microseconds now_{kThen};
  UniqueFd timer_ = *Rtc::make_timer();
  Rtc rtc_{line_, timer_.get(), [this] { return now_; }};
};

TEST_F(RtcTest, TellsTheHostsTimeInBcd) {
  EXPECT_THAT(time(), ElementsAre(0x20, 0x24, 0x02, 0x03, 7, 0x16, 0x05, 0x06));
  now_ += std::chrono::hours(24 * 30) + std::chrono::minutes(59);
  EXPECT_THAT(time(), ElementsAre(0x20, 0x24, 0x03, 0x04, 2, 0x17, 0x04, 0x06));
}

TEST_F(RtcTest, TellsItInBinaryAndInTwelveHoursWhenAsked) {
  set(0x0B, 0x06);
  EXPECT_THAT(time(), ElementsAre(20, 24, 2, 3, 7, 16, 5, 6));
  set(0x0B, 0x00);
  EXPECT_EQ(get(4), 0x84U) << "4 in the afternoon";
  now_ -= std::chrono::hours(4);
  EXPECT_EQ(get(4), 0x92U) << "noon";
  now_ += std::chrono::hours(12);
  EXPECT_EQ(get(4), 0x12U) << "midnight";
}

TEST_F(RtcTest, HasAGoodBatteryAndStartsIn24HourBcd) {
  EXPECT_EQ(get(0x0D), 0x80U);
  EXPECT_EQ(get(0x0B), 0x02U);
  EXPECT_EQ(get(0x0A), 0x26U);
  EXPECT_EQ(get(0x0C), 0x00U);
}

TEST_F(RtcTest, AnnouncesEachUpdate) {
  now_ = kThen + microseconds(1'000'000 - 2229);
  EXPECT_EQ(get(0x0A) & 0x80, 0U);
  now_ = kThen + microseconds(1'000'000 - 2228);
  EXPECT_EQ(get(0x0A) & 0x80, 0x80U);
  now_ = kThen + seconds(1);
  EXPECT_EQ(get(0x0A) & 0x80, 0U);
}

TEST_F(RtcTest, NeverUpdatesWhileItIsBeingSet) {
  set(0x0B, 0x82);
  now_ += seconds(5) - microseconds(1);
  EXPECT_EQ(get(0x0A) & 0x80, 0U);
  EXPECT_EQ(get(0), 0x06U) << "the time stands still";
}

TEST_F(RtcTest, TakesTheTimeThatLinuxSetsAndGoesOnFromThere) {
  set(0x0B, 0x82);
  set(0x0A, 0x70);
  const std::pair<unsigned, unsigned> bytes[] = {{9, 0x99}, {8, 0x12}, {7, 0x31},   {4, 0x23},
                                                 {2, 0x59}, {0, 0x58}, {0x32, 0x19}};
  for (const auto& [index, value] : bytes) {
    set(index, value);
  }
  now_ += seconds(100);  // time that passes while it stands still is lost
  set(0x0B, 0x02);
  set(0x0A, 0x26);
  EXPECT_THAT(time(), ElementsAre(0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x58));
  now_ += microseconds(500'000);
  EXPECT_THAT(get(0), 0x59U) << "the divider chain starts in the middle of a second";
  now_ += seconds(1);
  EXPECT_THAT(time(), ElementsAre(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00));
}

TEST_F(RtcTest, TakesASingleByteOfTheTimeWithoutBeingHalted) {
  set(4, 0x03);
  EXPECT_THAT(time(), ElementsAre(0x20, 0x24, 0x02, 0x03, 7, 0x03, 0x05, 0x06));
}

TEST_F(RtcTest, MakesSomeTimeOfAnyBytes) {
  for (const unsigned mode : {0x00U, 0x02U, 0x04U, 0x06U}) {
    for (unsigned value = 0; value < 256; ++value) {
      set(0x0B, 0x80 | mode);
      for (const unsigned index : {0U, 2U, 4U, 6U, 7U, 8U, 9U, 0x32U}) {
        set(index, value);
      }
      set(0x0B, mode);
      set(0x0B, 0x06);
      EXPECT_LT(get(0), 60U);
      EXPECT_GE(get(8), 1U);
      EXPECT_LE(get(8), 12U);
    }
  }
}

TEST_F(RtcTest, KeepsMemoryAndIgnoresTheNmiMask) {
  set(0x40, 0x5A);
  EXPECT_EQ(get(0x40), 0x5AU);
  EXPECT_EQ(get(0xC0), 0x5AU);
  EXPECT_EQ(testing::read(rtc_, 0), 0xFFU) << "the index cannot be read";
}

TEST_F(RtcTest, TakesIndexAndDataInOneAccess) {
  testing::write(rtc_, 0, 0x7741, 2);
  EXPECT_EQ(get(0x41), 0x77U);
}

TEST_F(RtcTest, RaisesUpdateEndedInterruptsWhileEnabled) {
  EXPECT_FALSE(timer_armed());
  set(0x0B, 0x12);
  EXPECT_TRUE(timer_armed());
  now_ += seconds(1);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 1U);
  EXPECT_EQ(get(0x0C), 0x90U);
  EXPECT_EQ(get(0x0C), 0x00U) << "reading clears";
  EXPECT_TRUE(timer_armed());
  set(0x0B, 0x02);
  EXPECT_FALSE(timer_armed());
}

TEST_F(RtcTest, RaisesTheAlarmAtItsTimeOnce) {
  set(5, 0x16);
  set(3, 0x05);
  set(1, 0x08);
  set(0x0B, 0x22);
  now_ += seconds(1);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 0U);
  now_ += seconds(1);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 1U);
  EXPECT_EQ(get(0x0C), 0xB0U);
  now_ += seconds(1);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 1U);
}

TEST_F(RtcTest, RaisesAnAlarmThatALateTimerSkipped) {
  set(5, 0xFF);  // at any hour
  set(3, 0xC0);  // and minute
  set(1, 0x30);
  set(0x0B, 0x22);
  now_ += std::chrono::hours(24 * 365);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 1U);
  EXPECT_EQ(get(0x0C) & 0x20, 0x20U);
}

TEST_F(RtcTest, SetsFlagsForThoseWhoPoll) {
  now_ += seconds(1);
  EXPECT_EQ(get(0x0C), 0x10U);
  EXPECT_EQ(line_.count, 0U);
}

TEST_F(RtcTest, StartsWithTheTimerOffWhateverItsPredecessorWanted) {
  set(0x0B, 0x12);
  ASSERT_TRUE(timer_armed());
  const Rtc next(line_, timer_.get());
  EXPECT_FALSE(timer_armed());
}

TEST_F(RtcTest, GoesBackWithTheHostsClock) {
  set(0x0B, 0x12);
  now_ -= seconds(10);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 0U);
  now_ += seconds(1);
  rtc_.timer_expired();
  EXPECT_EQ(line_.count, 1U);
}

TEST_F(RtcTest, SurvivesEveryRegisterWithEveryValue) {
  for (unsigned index = 0; index < 256; ++index) {
    for (unsigned value = 0; value < 256; ++value) {
      set(index, value);
      get(index);
      now_ += microseconds(1'234'567);
      rtc_.timer_expired();
    }
  }
  EXPECT_EQ(get(0x0D), 0x80U);
}

}  // namespace
}  // namespace tapir::vmm
