package main

import (
	"fmt"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// A job that is restarted after it has succeeded never completes for the services that wait for it. The merged restart
// policy counts, which is not always the last one in the file.
func checkJobs(project *types.Project) error {
	for _, service := range project.Services {
		for name, dependency := range service.DependsOn {
			if dependency.Condition != types.ServiceConditionCompletedSuccessfully {
				continue
			}
			job := project.Services[name]
			if !endsForGood(job.Restart) {
				return fmt.Errorf("%s waits for %s to complete, which restart: %q makes impossible", service.Name, name, job.Restart)
			}
			if job.Deploy != nil && job.Deploy.RestartPolicy != nil && job.Deploy.RestartPolicy.Condition == "any" {
				return fmt.Errorf("%s waits for %s to complete, which its deploy.restart_policy makes impossible", service.Name, name)
			}
		}
	}
	return nil
}

func endsForGood(restart string) bool {
	return restart == "" || restart == types.RestartPolicyNo || strings.HasPrefix(restart, types.RestartPolicyOnFailure)
}
