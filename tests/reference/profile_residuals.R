# Profile limits where residuals have a structure: criteria refitted with one parameter held, by nlme and glmmTMB.
#
# Writes profile_residuals.json beside it: for each parameter the estimate's criterion (-2 log-likelihood) and the two
# values at which the criterion, minimised over all others, is higher by the 0.95 quantile of chi-squared.
# R 4.2.2, nlme 3.1-162, glmmTMB 1.1.5, metafor 3.8-1; needs known_residual.json.

suppressMessages({library(nlme); library(glmmTMB); library(jsonlite)})

d <- as.data.frame(Orthodont)
d$Sex <- factor(d$Sex, levels = c("Male", "Female"))
d$v <- as.integer((d$age - 8) / 2)
d$female <- as.numeric(d$Sex == "Female")
ctl <- lmeControl(tolerance = 1e-11, msTol = 1e-12, maxIter = 500, msMaxIter = 500, niterEM = 100)
cut <- qchisq(0.95, 1)

limits <- function(criterion, lowest, low, middle, high) {
  above <- function(x) criterion(x) - lowest - cut
  c(uniroot(above, c(low, middle), tol = 1e-10)$root, uniroot(above, c(middle, high), tol = 1e-10)$root)
}
lme2 <- function(..., reml = TRUE) {
  fit <- lme(distance ~ age * Sex, d, ~ 1 | Subject, control = ctl, method = if (reml) "REML" else "ML", ...)
  -2 * as.numeric(logLik(fit))
}
out <- list()
keep <- function(case, parameter, lowest, found) {
  out[[length(out) + 1]] <<- list(case = case, parameter = parameter, criterion = lowest, lower = found[1],
                                  upper = found[2])
}

# (1 | Subject) beside ar1(v | Subject), REML
free <- lme2(correlation = corAR1(form = ~ v | Subject))
held <- function(rho) lme2(correlation = corAR1(rho, form = ~ v | Subject, fixed = TRUE))
keep("ar1", "correlation", free, limits(held, free, -0.6, -0.05, 0.6))

# (1 | Subject) beside ident(Sex), REML
free <- lme2(weights = varIdent(form = ~ 1 | Sex))
held <- function(r) lme2(weights = varIdent(form = ~ 1 | Sex, fixed = c(Female = r)))
keep("ident", "sd ratio(Sex Female)", free, limits(held, free, 0.2, 0.47, 0.9))

# (1 | Subject) beside power(age), REML
free <- lme2(weights = varPower(form = ~ age))
held <- function(p) lme2(weights = varPower(form = ~ age, fixed = p))
keep("power", "power(age)", free, limits(held, free, -3, -0.45, 2))

# the standard deviation of the intercepts and a slope beside ident(Sex), ML
tmb <- function(y = d$distance, formula = ~ age + female + age:female, ...) {
  d$y <- y
  fit <- glmmTMB(update(formula, y ~ . + (1 | Subject)), d, dispformula = ~ Sex,
                 control = glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4, rel.tol = 1e-14)), ...)
  -2 * as.numeric(logLik(fit))
}
free <- tmb()
held <- function(sd) tmb(map = list(theta = factor(NA)), start = list(theta = log(sd)))
keep("ident ML", "sd_Intercept|Subject", free, limits(held, free, 0.8, 1.75, 4))
held <- function(b) tmb(d$distance - b * d$age, ~ female + age:female)
keep("ident ML", "age", free, limits(held, free, 0.3, 0.78, 1.3))

# known covariances of the errors, REML by metafor, with the standard deviation of studies held
suppressMessages(library(metafor))
known <- fromJSON("known_residual.json")
s <- as.data.frame(known$data$simulated)
fit <- function(...) rma.mv(yi, known$V$simulated, random = ~ 1 | study, data = s, ...)
free <- -2 * as.numeric(logLik(fit(control = list(rel.tol = 1e-9, eval.max = 1000, iter.max = 1000))))
held <- function(sd) -2 * as.numeric(logLik(fit(sigma2 = sd^2)))
keep("known", "sd_Intercept|study", free, limits(held, free, 0.05, 0.5, 2))

write_json(out, "profile_residuals.json", digits = 12, auto_unbox = TRUE, pretty = TRUE)
