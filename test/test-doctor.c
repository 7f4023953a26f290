/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "doctor.h"

static const DoctorFinding *find(const DoctorReport *r, const char *id) {
        for (size_t i = 0; i < r->n_findings; i++)
                if (streq(r->findings[i].id, id))
                        return &r->findings[i];
        fail_msg("no finding %s", id);
        return NULL;
}

static void amounts_are_judged_at_their_limits(void **state) {
        static const struct {
                uint64_t available, needed, comfortable;
                DoctorStatus status;
        } table[] = {
                { 0, 1, 2, DOCTOR_FAILED },     { 9, 10, 20, DOCTOR_FAILED }, { 10, 10, 20, DOCTOR_WARNING },
                { 19, 10, 20, DOCTOR_WARNING }, { 20, 10, 20, DOCTOR_OK },    { UINT64_MAX, 10, 20, DOCTOR_OK },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_int_equal(doctor_judge_amount(table[i].available, table[i].needed, table[i].comfortable),
                                 table[i].status);
}

static void meminfo_values_are_found_by_their_whole_name(void **state) {
        static const char text[] = "MemTotal:       1000 kB\nMemAvailableX:  7 kB\nMemAvailable:   512 kB\n"
                                   "Huge: 99999999999999999999 kB\n";

        assert_int_equal(doctor_meminfo_value(text, "MemTotal"), 1000 * 1024);
        assert_int_equal(doctor_meminfo_value(text, "MemAvailable"), 512 * 1024);
        assert_int_equal(doctor_meminfo_value(text, "Mem"), 0);
        assert_int_equal(doctor_meminfo_value("", "MemTotal"), 0);
        assert_true(doctor_meminfo_value(text, "Huge") == UINT64_MAX);
}

static void every_finding_says_something_and_every_problem_has_a_remedy(void **state) {
        _cleanup_doctor_report_ DoctorReport report = {};
        _cleanup_free_ char *text = NULL;

        doctor_examine(&(DoctorOptions){}, &report);
        assert_true(report.n_findings >= 10);
        for (size_t i = 0; i < report.n_findings; i++) {
                const DoctorFinding *f = &report.findings[i];

                assert_non_null(f->found);
                assert_true(*f->found != 0);
                if (f->status != DOCTOR_OK)
                        assert_false(isempty(f->remedy));
        }
        text = doctor_report_format(&report);
        assert_non_null(strstr(text, find(&report, "memory")->found));
}

static void a_place_that_cannot_be_written_fails(void **state) {
        _cleanup_doctor_report_ DoctorReport report = {};

        assert_int_equal(setenv("TMPDIR", "/proc/self/fdinfo/none", 1), 0);
        doctor_examine(&(DoctorOptions){}, &report);
        unsetenv("TMPDIR");
        assert_int_equal(find(&report, "temporary-space")->status, DOCTOR_FAILED);
        assert_int_equal(doctor_report_worst(&report), DOCTOR_FAILED);
}

static void a_full_file_system_fails(void **state) {
        _cleanup_doctor_report_ DoctorReport report = {};

        /* procfs has no room at all. */
        doctor_examine(&(DoctorOptions){ .output = "/proc", .store = "/proc/nothing" }, &report);
        assert_int_equal(find(&report, "output-space")->status, DOCTOR_FAILED);
        assert_int_equal(find(&report, "store-space")->status, DOCTOR_FAILED);
}

static void missing_programs_are_named_with_their_packages(void **state) {
        _cleanup_free_ char *path = xstrdup(getenv("PATH"));
        _cleanup_doctor_report_ DoctorReport report = {};

        assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
        doctor_examine(&(DoctorOptions){}, &report);
        assert_int_equal(setenv("PATH", path, 1), 0);
        assert_int_equal(find(&report, "vm-tools")->status, DOCTOR_WARNING);
        assert_non_null(strstr(find(&report, "vm-tools")->remedy, "qemu-system-x86"));
        assert_int_equal(find(&report, "disk-tools")->status, DOCTOR_FAILED);
        assert_non_null(strstr(find(&report, "disk-tools")->remedy, "mtools"));
}

static void json_holds_every_finding_by_id(void **state) {
        _cleanup_doctor_report_ DoctorReport report = {};
        _cleanup_json_ json_t *json = NULL;

        doctor_examine(&(DoctorOptions){}, &report);
        json = doctor_report_to_json(&report);
        assert_int_equal(json_array_size(json_object_get(json, "checks")), report.n_findings);
        for (size_t i = 0; i < report.n_findings; i++) {
                json_t *o = json_array_get(json_object_get(json, "checks"), i);

                assert_string_equal(json_string_value(json_object_get(o, "id")), report.findings[i].id);
                assert_string_equal(json_string_value(json_object_get(o, "found")), report.findings[i].found);
        }
        assert_int_equal(json_is_true(json_object_get(json, "can_build")),
                         doctor_report_worst(&report) != DOCTOR_FAILED);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(amounts_are_judged_at_their_limits),
                cmocka_unit_test(meminfo_values_are_found_by_their_whole_name),
                cmocka_unit_test(every_finding_says_something_and_every_problem_has_a_remedy),
                cmocka_unit_test(a_place_that_cannot_be_written_fails),
                cmocka_unit_test(a_full_file_system_fails),
                cmocka_unit_test(missing_programs_are_named_with_their_packages),
                cmocka_unit_test(json_holds_every_finding_by_id),
        };

        return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
