// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_watch.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Event = ConsoleWatch::Event;

class ConsoleWatchTest : public ::testing::Test {
 protected:
  void watch(const std::vector<std::string>& expect, const std::vector<std::string>& fail) {
    auto watch =
        ConsoleWatch::create(expect, fail, &sink_, [this](Event event) { events_.push_back(event); });
    ASSERT_TRUE(watch.has_value());
    watch_ = *std::move(watch);
  }
  /// Byte by byte, as the serial port does.
  void print(const std::string& text) {
    for (const char c : text) {
      const std::byte byte{static_cast<unsigned char>(c)};
      watch_->put({&byte, 1});
    }
  }

  testing::FakeSerialSink sink_;
  std::vector<Event> events_;
  std::unique_ptr<ConsoleWatch> watch_;
};

TEST_F(ConsoleWatchTest, PassesEverythingOn) {
  watch({"x"}, {"y"});
  print(std::string("a\0b\r\nxy\xFF", 8));
  EXPECT_EQ(sink_.text, std::string("a\0b\r\nxy\xFF", 8));
  EXPECT_EQ(watch_->record().first(), sink_.text);
}

TEST_F(ConsoleWatchTest, LooksAtALineWhenItIsComplete) {
  watch({"^ready$"}, {});
  print("ready");
  EXPECT_THAT(events_, IsEmpty());
  print("\r\n");
  EXPECT_THAT(events_, ElementsAre(Event::kExpected));
}

TEST_F(ConsoleWatchTest, LooksAtALineWithoutEndWhenAskedTo) {
  watch({"login: $"}, {});
  print("tapir login: ");
  EXPECT_THAT(events_, IsEmpty());
  watch_->look_at_partial_line();
  EXPECT_THAT(events_, ElementsAre(Event::kExpected));
}

TEST_F(ConsoleWatchTest, WantsEachExpressionInAnyOrder) {
  watch({"one", "two"}, {});
  print("two\n");
  EXPECT_THAT(events_, IsEmpty());
  EXPECT_THAT(watch_->missing(), ElementsAre("one"));
  print("one\none\n");
  EXPECT_THAT(events_, ElementsAre(Event::kExpected));
  EXPECT_THAT(watch_->missing(), IsEmpty());
}

TEST_F(ConsoleWatchTest, FailsByAnyExpressionOnce) {
  watch({"good"}, {"never", "bad"});
  print("bad and good\nbad\ngood\n");
  EXPECT_THAT(events_, ElementsAre(Event::kFailed));
  EXPECT_EQ(watch_->failure(), "'bad' matched the line 'bad and good'");
}

TEST_F(ConsoleWatchTest, TellsOfAPanicAndItsEnd) {
  watch({}, {});
  print("[    1.0] Kernel panic - not syncing: VFS\n[    1.1] CPU: 0\n");
  EXPECT_THAT(events_, ElementsAre(Event::kPanic));
  print("[    1.2] ---[ end Kernel panic - not syncing: VFS ]---\n");
  EXPECT_THAT(events_, ElementsAre(Event::kPanic, Event::kPanicEnd));
  EXPECT_EQ(watch_->panic(), "Kernel panic - not syncing: VFS");
}

TEST_F(ConsoleWatchTest, KnowsWhenTheFirstProgramStarts) {
  watch({}, {});
  EXPECT_FALSE(watch_->init_time().has_value());
  print("[    0.5] Run /init as init process\n");
  EXPECT_TRUE(watch_->init_time().has_value());
}

TEST_F(ConsoleWatchTest, CutsALineThatDoesNotEnd) {
  watch({"^b"}, {});
  print(std::string(ConsoleWatch::kMaxLine, 'a') + "b\n");
  EXPECT_THAT(events_, ElementsAre(Event::kExpected));
}

TEST(ConsolePatternTest, RefusesWhatIsNoExpression) {
  for (const char* const text : {"", "(", "a**{", "(\\1)", "((a{100}){100}){100}"}) {
    EXPECT_FALSE(ConsolePattern::compile(text).has_value()) << text;
  }
}

// With a matcher that goes back it would take longer than the universe lasts.
TEST(ConsolePatternTest, IsLinearWhereOthersAreExponential) {
  const auto pattern = ConsolePattern::compile("^(a|aa|a*)*b$");
  ASSERT_TRUE(pattern.has_value());
  EXPECT_FALSE(pattern->matches(std::string(ConsoleWatch::kMaxLine, 'a')));
  EXPECT_TRUE(pattern->matches(std::string(100, 'a') + "b"));
}

TEST(ConsoleRecordTest, KeepsTheBeginningAndTheEnd) {
  ConsoleRecord record;
  std::string text;
  while (text.size() < ConsoleRecord::kLastBytes + 2 * ConsoleRecord::kFirstBytes) {
    text += std::to_string(text.size()) + "\n";
  }
  record.put(std::as_bytes(std::span(text)));
  EXPECT_EQ(record.bytes(), text.size());
  EXPECT_EQ(record.first(), text.substr(0, ConsoleRecord::kFirstBytes));
  EXPECT_EQ(record.last(), text.substr(text.size() - ConsoleRecord::kLastBytes));
}

TEST(ConsoleRecordTest, ShowsTheLastLinesWithoutWhatATerminalWouldObey) {
  ConsoleRecord record;
  const std::string text = "one\n\n\x1B[31mtwo\x1B[0m\r\n\x1B]0;title\a\tthree, which is long\nfour";
  record.put(std::as_bytes(std::span(text)));
  EXPECT_THAT(record.last_lines(4, 14), ElementsAre("", "two", "]0;title three", "four"));
  EXPECT_THAT(record.last_lines(50, 99), ::testing::SizeIs(5));
  EXPECT_THAT(ConsoleRecord().last_lines(50, 99), IsEmpty());
}

}  // namespace
}  // namespace tapir::vmm
