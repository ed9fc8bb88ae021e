# Estimates without each herd of cbpp and without some people of Orthodont: refits by lme4's glmer and nlme's gls.
# Run in this folder: Rscript influence.R > influence.json
suppressMessages({library(lme4); library(nlme)})
# tolPwrss: at its default log|H| is one step of Newton's method behind, which shows in the third digit
polished <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), tolPwrss = 1e-12)
fit <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, control = polished)
herds <- levels(cbpp$herd)
refits <- lapply(herds, function(h) update(fit, data = subset(cbpp, herd != h)))
cbpp_without <- list(left_out = herds, fixef = unname(t(sapply(refits, fixef))),
                     sd = sapply(refits, function(f) unname(getME(f, "theta"))))
gls_without <- function(s) {
  rest <- droplevels(subset(as.data.frame(Orthodont), Subject != s))
  unname(coef(gls(distance ~ age * Sex, rest, correlation = corSymm(form = ~ 1 | Subject),
                  weights = varIdent(form = ~ 1 | age),
                  control = glsControl(tolerance = 1e-10, msTol = 1e-12, maxIter = 500, msMaxIter = 500))))
}
people <- c("M01", "M13", "F10", "F11")
found <- list(cbpp = cbpp_without, orthodont = list(left_out = people, fixef = unname(t(sapply(people, gls_without)))))
cat(jsonlite::toJSON(found, digits = 12, pretty = TRUE), "\n")
