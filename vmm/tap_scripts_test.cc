// SPDX-License-Identifier: Apache-2.0
#include "vmm/tap_scripts.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "net/testing/helper_directory.h"

namespace tapir::vmm {
namespace {

using net::testing::content;
using net::testing::HelperDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string find_error(const ScriptConfig& script) {
  const auto found = find_script(script, "script");
  return found ? "no error" : found.error().message();
}

std::string run_error(const std::string& program, std::chrono::seconds limit = kUpScriptLimit) {
  const Status status = run_up_script(program, "tap7", limit);
  return status ? "no error" : status.error().message();
}

TEST(FindScriptTest, NoneIsNone) {
  EXPECT_EQ(find_script({"", true}, "script"), std::string());
}

TEST(FindScriptTest, OnlyAMissingDefaultIsNone) {
  EXPECT_EQ(find_script({"/nonexistent/ifup", false}, "script"), std::string());
  EXPECT_EQ(find_error({"/nonexistent/ifup", true}),
            "script=/nonexistent/ifup: name a program that is there, or say script=no: No such file or "
            "directory");
}

TEST(FindScriptTest, WhatIsNoProgramIsAnError) {
  const HelperDirectory directory;
  const std::string path = directory.script("ifup", "#!/bin/sh\n");
  EXPECT_EQ(find_script({path, false}, "script"), path);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_THAT(find_error({path, false}), AllOf(HasSubstr("cannot run this"), HasSubstr("chmod +x " + path)));
  EXPECT_THAT(find_error({directory.path(), true}), HasSubstr("cannot run this"));
}

TEST(FindScriptTest, APathWithoutSlashIsNotSearchedFor) {
  EXPECT_THAT(find_error({"sh", true}), HasSubstr("script=sh: name a program that is there"));
}

TEST(UpScriptTest, GetsTheInterfaceAsItsOnlyArgument) {
  const HelperDirectory directory;
  const std::string path = directory.script("if up", "#!/bin/sh\necho \"$# $1\" > \"$0.log\"\n");
  EXPECT_EQ(run_error(path), "no error");
  EXPECT_EQ(content(path + ".log"), "1 tap7\n");
}

TEST(UpScriptTest, FailureComesWithItsWords) {
  const HelperDirectory directory;
  const std::string loud = directory.script("loud", "#!/bin/sh\necho no; echo 'no bridge' >&2; exit 3\n");
  EXPECT_EQ(run_error(loud), "the script '" + loud +
                                 " tap7' exited with status 3 and says: no bridge; correct it, name another "
                                 "with script=, or say script=no");
  const std::string plain = directory.script("plain", "#!/bin/sh\necho no; exit 1\n");
  EXPECT_THAT(run_error(plain), HasSubstr("' exited with status 1 and says: no; correct"));
  const std::string mute = directory.script("mute", "#!/bin/sh\nkill -9 $$\n");
  EXPECT_THAT(run_error(mute), HasSubstr("' was killed by SIGKILL; correct"));
}

TEST(UpScriptTest, OneThatHangsIsStoppedAndSaidToBe) {
  const HelperDirectory directory;
  const std::string path = directory.script("hang", "#!/bin/sh\necho waiting >&2; sleep 1000\n");
  EXPECT_THAT(run_error(path, std::chrono::seconds(1)),
              HasSubstr("' did not end in 1 s and was stopped and says: waiting; correct"));
  EXPECT_TRUE(net::testing::has_no_children());
}

}  // namespace
}  // namespace tapir::vmm
